//! What happened to each process, in words, in the order of time.

use std::fmt;

use ravelin_model::ttcb::{ProposeError, Value};

use super::party::{Note, What, text};
use super::plan::Fate;

/// Bytes of a hash that are shown.
const SHOWN: usize = 3;

/// One line of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) at_ms: f64,
    pub(super) what: String,
}

/// The lines of each process.
pub(super) struct Timelines<'a>(pub(super) &'a [Vec<Note>]);

impl fmt::Display for Timelines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, notes) in self.0.iter().enumerate() {
            for (place, Line { at_ms, what }) in lines(notes).iter().enumerate() {
                let name = if place == 0 { process(number) } else { String::new() };
                writeln!(f, "  {name:<3}{at_ms:>8.1} ms  {what}")?;
            }
        }
        Ok(())
    }
}

/// How a process is called.
pub(super) fn process(number: usize) -> String {
    format!("P{}", number + 1)
}

/// What happened to one process; copies that it sent in one go stand in one line.
pub(super) fn lines(notes: &[Note]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut sending = None;
    for note in notes {
        let at_ms = note.at.as_secs_f64() * 1e3;
        if let What::Sends { to, copy, fate, message } = &note.what {
            let said = text(message);
            let to = process(*to) + in_words(*fate);
            match lines.last_mut().filter(|_| sending == Some((*copy, said.clone()))) {
                Some(line) => line.what = format!("{}, {to}", line.what),
                None => {
                    let what = format!("sends copy {} of {said} to {to}", copy + 1);
                    lines.push(Line { at_ms, what });
                }
            }
            sending = Some((*copy, said));
        } else {
            sending = None;
            lines.push(Line { at_ms, what: happened(&note.what) });
        }
    }
    lines
}

fn in_words(fate: Fate) -> &'static str {
    match fate {
        Fate::Well => "",
        Fate::Lost => " (to be lost)",
        Fate::Corrupted => " (to be corrupted)",
        Fate::Late(_) => " (to be late)",
    }
}

fn happened(what: &What) -> String {
    match what {
        What::Multicasts(message) => {
            format!("multicasts {} to the others", text(message))
        }
        What::Refused(why) => format!("does not multicast: {why}"),
        What::Proposes { value: Some(value), error: None } => {
            format!("asks its wormhole for an agreement, proposes H = {}", hash(value))
        }
        What::Proposes { error: None, .. } => {
            "asks its wormhole for the agreement, proposes nothing".to_owned()
        }
        What::Proposes { error: Some(ProposeError::TstartExpired), .. } => {
            "asks its wormhole for the agreement, which has started without it".to_owned()
        }
        What::Proposes { error: Some(error), .. } => {
            format!("asks its wormhole for the agreement: {error}")
        }
        What::Learns(Some(value)) => format!("learns H = {}", hash(value)),
        What::Learns(None) => "learns that it ended without a hash".to_owned(),
        What::Sends { to, copy, message, .. } => {
            format!("sends copy {} of {} to {}", copy + 1, text(message), process(*to))
        }
        What::Receives { from, copy, is_sound: true, message } => {
            format!("receives {}'s copy {}: {}", process(*from), copy + 1, text(message))
        }
        What::Receives { from, copy, .. } => {
            format!(
                "receives {}'s copy {}, corrupted: it counts for nothing",
                process(*from),
                copy + 1
            )
        }
        What::Delivers(message) => format!("DELIVERS {}", text(message)),
        What::Ends => "its multicast has ended; nobody delivers it".to_owned(),
        What::IsUntold => {
            "does not learn how its multicast ended; others may deliver it".to_owned()
        }
        What::Halts(error) => format!("halts: {error}"),
    }
}

/// The beginning of a hash.
pub(super) fn hash(value: &Value) -> String {
    let shown = value.iter().take(SHOWN).map(|byte| format!("{byte:02x}"));
    shown.collect::<String>() + ".."
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use ravelin_model::ttcb::TrustedTime;
    use ravelin_multicast::brm::{Header, Message};

    use super::*;

    #[test]
    fn copies_that_are_sent_in_one_go_share_a_line() {
        let header = Header { elist: vec![], tstart: TrustedTime(1) };
        let message = Arc::new(Message { header, data: b"....M".to_vec() });
        let send = |to, copy, fate| Note {
            at: Duration::from_micros(1_500),
            what: What::Sends { to, copy, fate, message: Arc::clone(&message) },
        };
        let notes = [
            send(1, 0, Fate::Well),
            send(2, 0, Fate::Corrupted),
            send(3, 0, Fate::Lost),
            send(1, 1, Fate::Late(Duration::ZERO)),
            Note { at: Duration::from_millis(2), what: What::Delivers(Arc::clone(&message)) },
        ];
        let shown = Timelines(&[notes.to_vec(), vec![]]).to_string();
        let expected = "  P1      1.5 ms  sends copy 1 of M to P2, P3 (to be corrupted), P4 (to be lost)\n\
                        \x20         1.5 ms  sends copy 2 of M to P2 (to be late)\n\
                        \x20         2.0 ms  DELIVERS M\n";
        assert_eq!(shown, expected);
    }
}
