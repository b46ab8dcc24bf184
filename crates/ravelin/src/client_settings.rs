//! What a command that talks to a cluster goes by: the client file in use, and what flags and
//! environment change in it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::Invocation;
use crate::exit::{Error, Exit, Result};
use crate::files::client::{ClientFile, Whereabouts};
use crate::files::contexts::Contexts;
use crate::files::disk;
use crate::files::kind::Kind;
use crate::settings::{Layers, Origin, Shown};

/// How long a command waits for the cluster.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// The settings of a client.
pub(crate) struct ClientSettings {
    /// The client file, and where it was found; `None`: no cluster was named.
    file: Option<(PathBuf, ClientFile)>,
    /// How long a command waits for the cluster.
    pub(crate) timeout: Duration,
    /// Where proof of servers' misbehaviour is kept.
    pub(crate) evidence: Option<PathBuf>,
    settings: Vec<Shown>,
}

impl ClientSettings {
    /// Finds and reads the client file: that of `--config`, else of `--context`, else of the
    /// context in use.
    pub(crate) fn load(invocation: &Invocation) -> Result<Self> {
        let path = file_in_use(invocation)?;
        let file = match &path {
            Some(path) => Some(ClientFile::read(path).map_err(|error| of_server(path, error))?),
            None => None,
        };
        if let Some(path) = &path {
            invocation.output.detail(format_args!("using {}", path.display()));
        }
        let globals = &invocation.globals;
        let mut layers = Layers::new(path.as_deref(), &invocation.sources);
        let in_file = |value: fn(&ClientFile) -> String| file.as_ref().map(value);
        let fingerprint = in_file(|file| file.fingerprint.0.to_string());
        layers.pick("fingerprint", None, fingerprint.map(Some), None);
        let whereabouts = in_file(|file| match &file.whereabouts {
            Whereabouts::Plan(plan) => plan.display().to_string(),
            Whereabouts::Servers(servers) => {
                let addresses: Vec<&str> =
                    servers.iter().map(|server| server.address.as_str()).collect();
                addresses.join(" ")
            }
        });
        let key = match file.as_ref().map(|file| &file.whereabouts) {
            Some(Whereabouts::Servers(_)) => "servers",
            _ => "plan",
        };
        layers.pick(key, None, whereabouts.map(Some), None);
        let key = file.as_ref().and_then(|file| file.key.clone());
        layers.pick("key", None, key.map(Some), None);
        let timeout = file.as_ref().and_then(|file| file.timeout);
        let timeout = layers.pick("timeout", globals.timeout, timeout, TIMEOUT_DEFAULT);
        let evidence = file.as_ref().and_then(|file| file.evidence.clone());
        let given = globals.evidence.as_deref().map(disk::plain);
        let evidence = layers.pick("evidence", given.map(Some), evidence.map(Some), None);
        let settings = layers.shown().into_iter().map(|shown| as_in_file(shown, timeout)).collect();
        Ok(Self { file: path.zip(file), timeout, evidence, settings })
    }

    /// How long a command waits that needs no client file.
    pub(crate) fn timeout(invocation: &Invocation) -> Duration {
        invocation.globals.timeout.unwrap_or(TIMEOUT_DEFAULT)
    }

    /// The client file; an error if no cluster was named.
    pub(crate) fn cluster(&self) -> Result<&ClientFile> {
        self.file.as_ref().map(|(_, file)| file).ok_or_else(|| {
            let cause = "no cluster was named, and none is in use";
            let hint = "name one with --config FILE or --context NAME, or use `ravelin trust add`; \
                        `ravelin local up` makes one on this machine";
            Error::new(Exit::NotFound, cause, hint)
        })
    }

    /// Where the client file is.
    pub(crate) fn path(&self) -> Option<&PathBuf> {
        self.file.as_ref().map(|(path, _)| path)
    }

    /// All settings, for `ravelin config show`.
    pub(crate) fn shown(self) -> Vec<Shown> {
        self.settings
    }
}

/// A setting by the name and in the form that it has in a client file.
fn as_in_file(shown: Shown, timeout: Duration) -> Shown {
    if shown.key != "timeout" {
        return shown;
    }
    let milliseconds = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    Shown { key: "timeout_ms".to_owned(), value: milliseconds.into(), ..shown }
}

/// The error about a client file that cannot be read; it may be no client file.
fn of_server(path: &Path, error: Error) -> Error {
    if !Kind::Node.is_of(path) {
        return error;
    }
    let cause = format!("{} is the file of a server, not of a client", path.display());
    let hint = "clients use a client.toml, or a cluster known by `ravelin trust add`; \
                `ravelin config example client` shows one";
    Error::usage(cause, hint)
}

/// The configuration file in use. Of `--config` and `--context`, a flag beats an environment variable.
pub(crate) fn file_in_use(invocation: &Invocation) -> Result<Option<PathBuf>> {
    let globals = &invocation.globals;
    let is_flag = |key| matches!(invocation.sources.origin(key), Some(Origin::Flag(_)));
    match (&globals.config, &globals.context) {
        (Some(_), Some(_)) if is_flag("config") == is_flag("context") => Err(Error::usage(
            "both a configuration file and a context are named",
            "choose one of --config (RAVELIN_CONFIG) and --context (RAVELIN_CONTEXT)",
        )),
        (Some(config), context) if context.is_none() || is_flag("config") => {
            Ok(Some(config.clone()))
        }
        (_, Some(context)) => invocation.contexts()?.client_file(context).map(Some),
        _ => in_use(invocation),
    }
}

/// The client file of the context in use. Without a place for contexts, there is none.
fn in_use(invocation: &Invocation) -> Result<Option<PathBuf>> {
    let Ok(contexts) = invocation.contexts() else { return Ok(None) };
    let file = |contexts: &Contexts, name: &str| {
        let hint = "choose another with `ravelin trust use`";
        contexts.client_file(name).map_err(|error| error.hint(hint))
    };
    contexts.current()?.map(|name| file(&contexts, &name)).transpose()
}
