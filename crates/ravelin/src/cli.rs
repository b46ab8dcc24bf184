//! The command line: one file per noun in `cli/`, each with its verbs and what they do.
//!
//! To add a verb: a variant with its arguments in the noun's file, and an arm in the noun's `run`.
//! To add a noun: a file, a variant of [`Command`], and an arm in `main.rs`. A verb that does not
//! work yet is not defined.

pub(crate) mod assess;
pub(crate) mod attack;
pub(crate) mod audit;
pub(crate) mod auth;
pub(crate) mod backup;
pub(crate) mod bench;
pub(crate) mod cluster;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod gateway;
pub(crate) mod kv;
pub(crate) mod local;
pub(crate) mod node;
pub(crate) mod sim;
pub(crate) mod status;
pub(crate) mod tools;
pub(crate) mod trust;
pub(crate) mod wormhole;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use ravelin_model::FaultModel;

use crate::exit::{Error, Exit, Result};
use crate::files::contexts::Contexts;
use crate::output::{Format, Output, Talk};
use crate::settings::{Sources, duration};

/// Run services that must be trusted on machines that can be broken into.
#[derive(Parser)]
#[command(name = "ravelin", version, max_term_width = 100, after_long_help = exit_codes())]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// The nouns.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run four servers here, attack them, and judge what clients saw
    Demo(demo::Demo),
    /// Keep a cluster on this machine
    #[command(subcommand)]
    Local(local::Verb),
    /// Prepare, check and run a server
    #[command(subcommand)]
    Node(node::Verb),
    /// Plan clusters and sign plans
    #[command(subcommand)]
    Cluster(cluster::Verb),
    /// Remember clusters by their fingerprint
    #[command(subcommand)]
    Trust(trust::Verb),
    /// Make keys, say who may use the cluster, and change a server's block key
    #[command(subcommand)]
    Auth(auth::Verb),
    /// Keys and values, leases and locks
    #[command(subcommand)]
    Kv(kv::Verb),
    /// Serve those who cannot vote themselves
    #[command(subcommand)]
    Gateway(gateway::Verb),
    /// Show how the servers fare, and whose word that is
    Status(status::Status),
    /// Show, export and verify who had what done
    #[command(subcommand)]
    Audit(audit::Verb),
    /// Keep what a cluster holds, and put it into a new one
    #[command(subcommand)]
    Backup(backup::Verb),
    /// Take servers of a local cluster over
    #[command(subcommand)]
    Attack(attack::Verb),
    /// Put the protocol objects into a hostile virtual world
    #[command(subcommand)]
    Sim(sim::Verb),
    /// Measure a cluster on this machine
    Bench(bench::Bench),
    /// Say in numbers and pictures how far a design may be trusted
    #[command(subcommand)]
    Assess(assess::Verb),
    /// The trusted component of a server
    #[command(subcommand)]
    Wormhole(wormhole::Verb),
    /// Look for what is wrong with this host or a local cluster
    Doctor(doctor::Doctor),
    /// Show, check and explain configuration
    #[command(subcommand)]
    Config(config::Verb),
    /// Print the completions of a shell
    Completion(tools::Completion),
    /// Print the manual, or write all its pages
    Man(tools::Man),
    /// Print versions
    Version,
}

/// Fault models that this release can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModelName {
    /// Nothing is assumed of an intruded server: 3f+1 servers
    Arbitrary,
    /// Wormholes only stop, whatever becomes of their servers: 2f+1 servers
    Hybrid,
}

impl From<ModelName> for FaultModel {
    fn from(name: ModelName) -> Self {
        match name {
            ModelName::Arbitrary => Self::Arbitrary,
            ModelName::Hybrid => Self::Hybrid,
        }
    }
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// Configuration file: client.toml, or node.toml for `node`
    #[arg(
        long,
        global = true,
        env = "RAVELIN_CONFIG",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub(crate) config: Option<PathBuf>,
    /// Name of a cluster known by `trust add`
    #[arg(
        long,
        global = true,
        env = "RAVELIN_CONTEXT",
        hide_env_values = true,
        value_name = "NAME"
    )]
    pub(crate) context: Option<String>,
    /// Form of results and errors
    #[arg(
        long,
        global = true,
        env = "RAVELIN_OUTPUT",
        hide_env_values = true,
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub(crate) output: Format,
    /// Say nothing but errors on stderr
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say each step on stderr
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// How long to wait for the cluster, as 500ms, 30s or 2m
    #[arg(
        long,
        global = true,
        env = "RAVELIN_TIMEOUT",
        hide_env_values = true,
        value_name = "TIME",
        value_parser = duration
    )]
    pub(crate) timeout: Option<Duration>,
    /// Where to keep proof of servers' misbehaviour
    #[arg(
        long,
        global = true,
        env = "RAVELIN_EVIDENCE",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub(crate) evidence: Option<PathBuf>,
}

/// One run of the program, but for its command.
pub(crate) struct Invocation {
    pub(crate) output: Output,
    pub(crate) globals: Globals,
    pub(crate) sources: Sources,
}

impl Invocation {
    /// The clusters that this user trusts.
    pub(crate) fn contexts(&self) -> Result<Contexts> {
        Contexts::new(std::env::var_os("XDG_CONFIG_HOME"), std::env::var_os("HOME"))
    }
}

/// What the arguments ask for.
pub(crate) enum Parsed {
    Command(Box<Invocation>, Command),
    /// To be printed: help, or the version.
    Help(String),
}

/// Reads the arguments, the program's name first.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Parsed> {
    let arguments: Vec<OsString> = arguments.collect();
    let parsed = definition()
        .try_get_matches_from(&arguments)
        .and_then(|matches| Ok((Sources::new(&matches), Cli::from_arg_matches(&matches)?)));
    match parsed {
        Ok((sources, Cli { globals, command })) => {
            let talk = match (globals.quiet, globals.verbose) {
                (true, _) => Talk::Quiet,
                (_, true) => Talk::Verbose,
                _ => Talk::Normal,
            };
            let output = Output::new(globals.output, talk);
            Ok(Parsed::Command(Box::new(Invocation { output, globals, sources }), command))
        }
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                Ok(Parsed::Help(error.render().to_string()))
            }
            _ => Err(explained(&error, &arguments)),
        },
    }
}

/// The whole command line, for completions and the manual.
pub(crate) fn definition() -> clap::Command {
    Cli::command()
}

/// The form in which errors are wanted, known even when the arguments make no sense.
pub(crate) fn format_asked_for(arguments: impl Iterator<Item = OsString>) -> Format {
    // What comes after `--` is another program's.
    let arguments: Vec<OsString> = arguments.take_while(|argument| argument != "--").collect();
    let flags = arguments.iter().zip(arguments.iter().skip(1).map(Some).chain([None]));
    let from_flag =
        flags.filter_map(|(flag, next)| match flag.to_str()?.strip_prefix("--output")? {
            "" => next?.to_str(),
            value => value.strip_prefix('='),
        });
    let wanted = from_flag.last().map(str::to_owned);
    let wanted = wanted.or_else(|| std::env::var("RAVELIN_OUTPUT").ok());
    if wanted.as_deref() == Some("json") { Format::Json } else { Format::Text }
}

/// The parser's error in one line, with its tip or the usage as the hint.
fn explained(error: &clap::Error, arguments: &[OsString]) -> Error {
    let text = error.render().to_string();
    // The parser's own would show as needed whatever was given, be it by the environment.
    let mut command = innermost(arguments);
    let usage = command.render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage);
    let without_verb =
        [ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, ErrorKind::MissingSubcommand];
    if without_verb.contains(&error.kind()) {
        let noun = usage.split(" [").next().unwrap_or(usage);
        let noun = noun.split(" <").next().unwrap_or(noun);
        let cause = format!("`{noun}` needs a command");
        return Error::usage(cause, format!("`{noun} --help` lists them"));
    }
    let paragraph = text.lines().take_while(|line| !line.trim().is_empty());
    let lines: Vec<&str> = paragraph.map(str::trim).collect();
    let cause = lines.join(" ");
    let cause = cause.strip_prefix("error: ").unwrap_or(&cause);
    let from = variable_of(error, &command, arguments).map(|name| format!(" (from {name})"));
    let cause = format!("{cause}{}", from.unwrap_or_default());
    let tip = text.lines().find_map(|line| line.trim().strip_prefix("tip: "));
    let hint = tip.map_or_else(|| format!("usage: {usage}"), str::to_owned);
    Error::usage(cause, hint)
}

/// The environment variable from which a malformed value comes.
fn variable_of(
    error: &clap::Error,
    command: &clap::Command,
    arguments: &[OsString],
) -> Option<String> {
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let name = option.split([' ', '=']).next()?.strip_prefix("--")?;
    let is_flag = |argument: &OsString| {
        let flag = argument.to_str().and_then(|text| text.strip_prefix("--")?.strip_prefix(name));
        flag.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    };
    if arguments.iter().any(is_flag) {
        return None;
    }
    let option = command.get_arguments().find(|known| known.get_long() == Some(name))?;
    let variable = option.get_env().filter(|variable| std::env::var_os(variable).is_some())?;
    Some(variable.to_string_lossy().into_owned())
}

/// The innermost command that the arguments name.
fn innermost(arguments: &[OsString]) -> clap::Command {
    let mut root = definition();
    root.build();
    let mut command = &mut root;
    let mut words = arguments.iter().skip(1).filter_map(|word| word.to_str());
    while let Some(word) = words.next().filter(|word| *word != "--") {
        let option = word.strip_prefix("--").and_then(|name| {
            command.get_arguments().find(|argument| argument.get_long() == Some(name))
        });
        if option.is_some_and(|option| option.get_action().takes_values()) {
            words.next();
        } else if command.find_subcommand(word).is_some() {
            command = command.find_subcommand_mut(word).expect("just found");
        }
    }
    command.clone()
}

/// The exit codes, for the help text and the manual.
fn exit_codes() -> String {
    let mut text = String::from("Exit codes:\n");
    for exit in Exit::ALL {
        text.push_str(&format!("{:>5}  {}\n", exit.number(), exit.meaning()));
    }
    text.push_str("\nArguments marked [env: ...] can also be given as environment variables; ");
    text.push_str("flags win.\nNO_COLOR turns colours off.");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_together() {
        definition().debug_assert();
    }

    /// Longer lines would be broken anywhere.
    fn check_widths(command: &clap::Command) {
        let text = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
        for line in text.lines() {
            assert!(line.len() <= 98, "{}: {line}", command.get_name());
        }
        command.get_subcommands().for_each(check_widths);
    }

    #[test]
    fn help_texts_fit_their_width() {
        check_widths(&definition());
    }

    /// Lines of all help texts that show a command, with the command whose help it is.
    fn examples(command: &clap::Command, path: &str, found: &mut Vec<(String, String)>) {
        let text = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.strip_prefix("  "));
        let lines = lines.filter(|line| line.starts_with("ravelin "));
        found.extend(lines.map(|line| (path.to_owned(), line.to_owned())));
        for below in command.get_subcommands() {
            examples(below, &format!("{path} {}", below.get_name()), found);
        }
    }

    #[test]
    fn examples_in_help_texts_are_right() {
        let mut found = Vec::new();
        examples(&definition(), "ravelin", &mut found);
        for command in [
            "kv put",
            "kv get",
            "kv export",
            "kv import",
            "kv watch",
            "kv lock",
            "kv lease grant",
            "audit tail",
            "audit export",
            "audit verify",
            "backup create",
            "backup verify",
            "backup restore",
            "backup schedule",
            "auth keygen",
            "auth enroll",
            "auth revoke",
            "auth approve enroll",
            "cluster plan",
            "cluster sign-plan",
            "trust add",
            "gateway http",
            "gateway token add",
            "attack run",
            "attack take",
            "sim run",
            "sim replay",
            "sim brm",
            "assess run",
            "assess compare",
            "assess advise",
            "assess backtest",
            "assess prism",
            "assess from-plan",
            "assess closed-form",
            "assess example",
            "assess explain",
            "bench",
        ] {
            let path = format!("ravelin {command}");
            let is_own = |(of, line): &(String, String)| *of == path && line.starts_with(&path);
            assert!(found.iter().any(is_own), "{path} has no example");
        }
        for (_, line) in found {
            let digits = "11".repeat(32);
            let typed = line.replace("PUBLIC_KEY", &digits).replace("FINGERPRINT", &digits);
            let parsed = parse(typed.split_whitespace().map(OsString::from));
            assert!(matches!(parsed, Ok(Parsed::Command(..))), "{line}");
        }
    }

    #[test]
    fn a_malformed_value_is_answered_with_the_usage_of_its_command() {
        for (typed, usage) in [
            ("ravelin kv lease grant 10", "usage: ravelin kv lease grant [OPTIONS] <TTL>"),
            ("ravelin kv get k --timeout 5", "usage: ravelin kv get [OPTIONS] <KEY>"),
            ("ravelin --context kv local up --servers x", "usage: ravelin local up [OPTIONS]"),
            ("ravelin --timeout=x kv get kv -- kv", "usage: ravelin kv get [OPTIONS] <KEY>"),
        ] {
            let error = parse(typed.split(' ').map(OsString::from)).err().expect("malformed");
            assert_eq!(error.advice(), usage, "{typed}");
        }
    }

    #[test]
    fn the_form_of_errors_is_found_in_arguments_that_make_no_sense() {
        for (arguments, format) in [
            (&["ravelin", "--output", "json", "nonsense"][..], Format::Json),
            (&["ravelin", "--output=json"], Format::Json),
            (&["ravelin", "--output"], Format::Text),
            (&["ravelin", "--", "--output", "json"], Format::Text),
            (&["ravelin", "--output", "json", "--output", "text"], Format::Text),
        ] {
            let arguments = arguments.iter().map(OsString::from);
            assert_eq!(format_asked_for(arguments), format);
        }
    }
}
