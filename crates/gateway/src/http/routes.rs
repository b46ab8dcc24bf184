//! Which request means what: one table, against which `docs/openapi.json` is checked.

use hyper::Method;

use super::spelling;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Livez,
    Readyz,
    Document,
    Status,
    List,
    Get,
    Put,
    Delete,
    Watch,
    Transact,
    GrantLease,
    ShowLease,
    RenewLease,
    RevokeLease,
    ShowLock,
    Lock,
    Unlock,
    WhoAmI,
    Clients,
}

impl Operation {
    /// Whether it can change what the cluster holds.
    pub(crate) fn is_change(self) -> bool {
        matches!(
            self,
            Self::Put
                | Self::Delete
                | Self::Transact
                | Self::GrantLease
                | Self::RenewLease
                | Self::RevokeLease
                | Self::Lock
                | Self::Unlock
        )
    }
}

/// One row of the table.
pub(crate) struct Route {
    pub(crate) method: Method,
    /// With at most one parameter. `{key}` and `{name}` take slashes too.
    pub(crate) pattern: &'static str,
    pub(crate) operation: Operation,
}

const fn route(method: Method, pattern: &'static str, operation: Operation) -> Route {
    Route { method, pattern, operation }
}

/// All that a gateway serves.
pub(crate) const ROUTES: [Route; 19] = [
    route(Method::GET, "/livez", Operation::Livez),
    route(Method::GET, "/readyz", Operation::Readyz),
    route(Method::GET, "/v1/openapi.json", Operation::Document),
    route(Method::GET, "/v1/status", Operation::Status),
    route(Method::GET, "/v1/kv", Operation::List),
    route(Method::GET, "/v1/kv/{key}", Operation::Get),
    route(Method::PUT, "/v1/kv/{key}", Operation::Put),
    route(Method::DELETE, "/v1/kv/{key}", Operation::Delete),
    route(Method::GET, "/v1/watch", Operation::Watch),
    route(Method::POST, "/v1/transactions", Operation::Transact),
    route(Method::POST, "/v1/leases", Operation::GrantLease),
    route(Method::GET, "/v1/leases/{lease}", Operation::ShowLease),
    route(Method::DELETE, "/v1/leases/{lease}", Operation::RevokeLease),
    route(Method::POST, "/v1/leases/{lease}/renew", Operation::RenewLease),
    route(Method::GET, "/v1/locks/{name}", Operation::ShowLock),
    route(Method::PUT, "/v1/locks/{name}", Operation::Lock),
    route(Method::DELETE, "/v1/locks/{name}", Operation::Unlock),
    route(Method::GET, "/v1/auth/whoami", Operation::WhoAmI),
    route(Method::GET, "/v1/auth/clients", Operation::Clients),
];

/// What the table says to a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Match<'a> {
    /// This operation, with the parameter of its path as it is spelled there.
    Found(Operation, &'a str),
    /// There is something, but these are the methods for it.
    OtherMethods(Vec<Method>),
    /// Nothing is there.
    Nothing,
}

/// Looks a request up. What can be got can be asked for its header too.
pub(crate) fn find<'a>(method: &Method, path: &'a str) -> Match<'a> {
    let mut others = Vec::new();
    for route in &ROUTES {
        let Some(parameter) = parameter_of(route.pattern, path) else { continue };
        let is_head = method == Method::HEAD
            && route.method == Method::GET
            && route.operation != Operation::Watch;
        if route.method == *method || is_head {
            return Match::Found(route.operation, parameter);
        }
        others.push(route.method.clone());
    }
    if others.is_empty() { Match::Nothing } else { Match::OtherMethods(others) }
}

/// The parameter of a path that fits the pattern; empty for a pattern without.
fn parameter_of<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    let Some((before, rest)) = pattern.split_once('{') else {
        return (pattern == path).then_some("");
    };
    let (name, after) = rest.split_once('}')?;
    let parameter = path.strip_prefix(before)?.strip_suffix(after)?;
    let takes_slashes = matches!(name, "key" | "name");
    (!parameter.is_empty() && (takes_slashes || !parameter.contains('/'))).then_some(parameter)
}

/// The bytes that a parameter of a path spells.
pub(crate) fn parameter(text: &str) -> Option<Vec<u8>> {
    spelling::percent_decoded(text, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_mean_what_the_table_says() {
        for (method, path, expected) in [
            (Method::GET, "/v1/kv", Match::Found(Operation::List, "")),
            (Method::GET, "/v1/kv/a", Match::Found(Operation::Get, "a")),
            (Method::HEAD, "/v1/kv/a", Match::Found(Operation::Get, "a")),
            (Method::PUT, "/v1/kv/a/b%2f", Match::Found(Operation::Put, "a/b%2f")),
            (Method::GET, "/v1/kv/", Match::Nothing),
            (Method::GET, "/v1/kvx", Match::Nothing),
            (Method::GET, "/v1/leases/7", Match::Found(Operation::ShowLease, "7")),
            (Method::POST, "/v1/leases/7/renew", Match::Found(Operation::RenewLease, "7")),
            (Method::GET, "/v1/leases/7/renew", Match::OtherMethods(vec![Method::POST])),
            (Method::POST, "/v1/leases/7/8/renew", Match::Nothing),
            (Method::POST, "/v1/leases//renew", Match::Nothing),
            (Method::HEAD, "/v1/watch", Match::OtherMethods(vec![Method::GET])),
            (Method::POST, "/v1/kv/a", {
                Match::OtherMethods(vec![Method::GET, Method::PUT, Method::DELETE])
            }),
            (Method::GET, "/", Match::Nothing),
        ] {
            assert_eq!(find(&method, path), expected, "{method} {path}");
        }
    }
}
