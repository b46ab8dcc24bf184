//! From a request to a response.
//!
//! **Guarantee:** without a known token nothing of a request but its header is read, and the cluster
//! hears nothing of it; each request ends within the gateway's time, whatever servers do.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::Caller;
use super::answer::Answer;
use super::body::Body;
use super::observed::Observed;
use super::request::{Asked, JSON};
use super::routes::{self, Match, Operation};
use super::status::GatewayShape;
use super::{auth, kv, leases, status, transactions, watch};
use crate::customer::Customer;
use crate::gateway::Gateway;
use crate::limits::{ACQUAINTED_MAX, REQUESTS_PER_TOKEN_MAX};
use crate::problem::{Code, Problem};

/// The description of everything under `/v1`.
pub(crate) const DOCUMENT: &str = include_str!("../../../../docs/openapi.json");

/// What `Ravelin-Trust` and `/v1/status` say of a gateway that several people use.
pub(crate) const SHARED: &str = "shared-gateway";

/// How long a quorum may be out of reach.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience(pub(crate) Duration);

/// Answers one request, and tells of it.
pub(crate) async fn respond(
    caller: Caller,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let observer = caller.observer.clone();
    let mut observed = observer.map(|observer| Observed::begin(observer, caller.address, &request));
    let routed = route(&caller, request, observed.as_mut()).await;
    let code = routed.as_ref().err().map(|problem| problem.code().name());
    let mut response = routed.unwrap_or_else(Answer::from).response();
    if let Some(observed) = observed {
        let (status, bytes) = (response.status().as_u16(), response.body().size_hint().exact());
        observed.end(status, code, bytes);
    }
    let headers = response.headers_mut();
    if caller.gateway.is_shared() {
        headers.insert("ravelin-trust", HeaderValue::from_static(SHARED));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        // Others' answers are for nobody's cache.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    }
    Ok(response)
}

async fn route(
    caller: &Caller,
    request: Request<Incoming>,
    observed: Option<&mut Observed>,
) -> Result<Answer, Problem> {
    let gateway = &caller.gateway;
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let (operation, parameter) = match routes::find(&parts.method, &path) {
        Match::Found(operation, parameter) => (operation, parameter),
        Match::OtherMethods(methods) => {
            let allowed: Vec<&str> = methods.iter().map(Method::as_str).collect();
            let (allowed, detail) = (allowed.join(", "), "this method does not apply here");
            let problem = Problem::new(Code::MethodNotAllowed, detail, format!("use {allowed}"));
            return Err(problem.header("allow", allowed));
        }
        Match::Nothing => {
            let hint = "/v1/openapi.json describes what is there";
            return Err(Problem::new(Code::NotFound, "nothing is at this path", hint));
        }
    };
    match operation {
        Operation::Livez => return Ok(plain("alive")),
        Operation::Readyz => return Ok(readyz(gateway)),
        Operation::Document => return Ok(Answer::of(JSON, DOCUMENT.as_bytes().to_vec().into())),
        _ => {}
    }
    let (name, customer) = customer(gateway, &parts.headers)?;
    if let Some(observed) = observed {
        observed.name(&name);
    }
    if !caller.place.acquaint(customer.public()) {
        let detail = format!("all {ACQUAINTED_MAX} connections are taken");
        let hint = "send more requests over one connection, or close some";
        return Err(Problem::new(Code::Busy, detail, hint));
    }
    let _room = Arc::clone(&customer.requests).try_acquire_owned().map_err(|_| {
        let detail = format!("{REQUESTS_PER_TOKEN_MAX} requests of this token are under way");
        Problem::new(Code::Busy, detail, "wait for some of them")
    })?;
    let asked = Asked::read(parts, parameter, body).await?;
    let patience = gateway.timeout();
    let carried = carry_out(gateway, operation, (&name, &customer), asked);
    match tokio::time::timeout(patience, carried).await {
        Ok(answer) => answer,
        Err(_) => Err(customer.silence(patience, operation.is_change()).await),
    }
}

async fn carry_out(
    gateway: &Gateway,
    operation: Operation,
    (name, customer): (&str, &Arc<Customer>),
    asked: Asked,
) -> Result<Answer, Problem> {
    match operation {
        Operation::Livez | Operation::Readyz | Operation::Document => {
            Err(Problem::senseless("answered before"))
        }
        Operation::Status => {
            status::status(customer, &asked, gateway.cluster(), shape(gateway)).await
        }
        Operation::List => kv::list(customer, &asked).await,
        Operation::Get => kv::get(customer, &asked).await,
        Operation::Put => kv::put(customer, asked).await,
        Operation::Delete => kv::delete(customer, &asked).await,
        Operation::Watch => watch::watch(customer, &asked, Patience(gateway.timeout())).await,
        Operation::Transact => transactions::transact(customer, &asked).await,
        Operation::GrantLease => leases::grant(customer, &asked).await,
        Operation::ShowLease => leases::show(customer, &asked).await,
        Operation::RenewLease => leases::renew(customer, &asked).await,
        Operation::RevokeLease => leases::revoke(customer, &asked).await,
        Operation::ShowLock => leases::show_lock(customer, &asked).await,
        Operation::Lock => leases::lock(customer, &asked).await,
        Operation::Unlock => leases::unlock(customer, &asked).await,
        Operation::WhoAmI => auth::whoami(customer, name, &asked).await,
        Operation::Clients => auth::clients(customer, &asked).await,
    }
}

/// The client that the request's token stands for, with the token's name.
fn customer(gateway: &Gateway, headers: &HeaderMap) -> Result<(String, Arc<Customer>), Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let token = match (values.next(), values.next()) {
        (Some(value), None) => bearer(value.as_bytes()),
        _ => None,
    };
    let Some(token) = token else {
        let hint = "send `Authorization: Bearer TOKEN`; `ravelin gateway token add` makes tokens";
        return Err(Problem::new(Code::Unauthenticated, "there is no bearer token", hint));
    };
    gateway.customer(token)?.ok_or_else(|| {
        let hint = "check it; `ravelin gateway token list` shows whose are known here";
        Problem::new(Code::Unauthenticated, "this token is not known here", hint)
            .header("www-authenticate", "Bearer error=\"invalid_token\"".to_owned())
    })
}

/// The token in the value of `Authorization`.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(b"bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(rest.trim_ascii())
}

fn plain(text: &'static str) -> Answer {
    Answer::of("text/plain; charset=utf-8", text.as_bytes().to_vec().into())
}

/// 200 while the cluster serves the first token; 503 otherwise. The body says why.
fn readyz(gateway: &Gateway) -> Answer {
    match gateway.readiness() {
        Ok(()) => plain("ready"),
        Err(why) => plain(why).status(StatusCode::SERVICE_UNAVAILABLE),
    }
}

fn shape(gateway: &Gateway) -> GatewayShape {
    let (trust, statement) = if gateway.is_shared() {
        (
            "shared_gateway",
            "a trusted node: whoever controls it reads and changes what its users may",
        )
    } else {
        ("own_gateway", "serves one user on this host, and votes on the servers' answers for it")
    };
    let (tokens, version) = (gateway.token_count(), env!("CARGO_PKG_VERSION"));
    GatewayShape { trust, statement, tokens, version }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_stands_behind_its_scheme() {
        assert_eq!(bearer(b"Bearer x"), Some(&b"x"[..]));
        assert_eq!(bearer(b"bearer  x "), Some(&b"x"[..]));
        for wrong in [&b"Basic x"[..], b"Bearer", b"", b"x"] {
            assert_eq!(bearer(wrong), None);
        }
    }
}
