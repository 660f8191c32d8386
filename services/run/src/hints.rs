//! Advice that goes with what a program prints: a pattern that a line of output matches, and a text. A line is looked at as
//! people see it, without the sequences that colour it.
//!
//! Looked for in the beginning of the output, while a person reads it, and in its end when the program has failed: not in
//! a flood. The patterns come with whatever repository was opened, so all they can cost is bounded: how many there are, how
//! large each is, and the time they take. What it deliberately does not do: run where anybody waits; [`crate::follow`] sees to
//! that.

use std::time::{Duration, Instant};

use anstream::adapter::{StripBytes, strip_bytes};
use pid1_sdk::error::printable;
use pid1_sdk::limits;
use regex_lite::{Regex, RegexBuilder};
use rustix::time::{ClockId, clock_gettime};

/// So much of a pattern is shown when it cannot be used.
const SHOWN_CHARS: usize = 80;

/// Patterns and texts that have not been given, and how far one run has been looked at.
#[derive(Debug, Default)]
pub(crate) struct Hints {
    rules: Vec<(Regex, String)>,
    /// What has come of a line that is not at its end, without colours.
    line: Vec<u8>,
    /// Whether that ended within a colour.
    colours: StripBytes,
    looked_bytes: usize,
    spent: Duration,
}

impl Hints {
    /// Of pairs of a pattern and a text, in which `$1` stands for what the first group has matched. What cannot be used is
    /// left out, and named in the second list.
    pub(crate) fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> (Hints, Vec<String>) {
        let (mut rules, mut wrong) = (Vec::new(), Vec::new());
        for (pattern, text) in pairs {
            match compile(pattern, text) {
                Ok(regex) => rules.push((regex, text.to_owned())),
                Err(why) => {
                    let shown: String = pattern.chars().take(SHOWN_CHARS).collect();
                    wrong.push(format!("the hint for {shown:?} cannot be used: {why}"));
                }
            }
        }
        (Hints { rules, ..Hints::default() }, wrong)
    }

    /// Whether there is nothing more to look for.
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether the output that comes next is still its beginning.
    pub(crate) fn at_beginning(&self) -> bool {
        !self.is_empty() && self.has_time() && self.looked_bytes < limits::HINT_BEGINNING_BYTES
    }

    /// The program has printed this: what is to be said to that, each advice once.
    pub(crate) fn beginning(&mut self, printed: &[u8]) -> Vec<String> {
        self.looked_bytes += printed.len();
        let mut found = Vec::new();
        for piece in printed.split_inclusive(|byte| *byte == b'\n') {
            for plain in self.colours.strip_next(piece) {
                let room = limits::HINT_LINE_BYTES.saturating_sub(self.line.len());
                self.line.extend_from_slice(&plain[..room.min(plain.len())]);
            }
            if piece.ends_with(b"\n") {
                // One that has no end in its own line is none.
                self.colours = StripBytes::new();
                let line = std::mem::take(&mut self.line);
                self.look(&line, &mut found);
            }
        }
        found
    }

    /// The program has failed, with this at the end of its output, or could not be started, for this reason.
    pub(crate) fn end(&mut self, printed: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        // What matters most, whatever the beginning has cost.
        self.spent = Duration::ZERO;
        let printed = &printed[printed.len().saturating_sub(limits::HINT_END_BYTES)..];
        for line in printed.split(|byte| *byte == b'\n') {
            let line = strip_bytes(line).into_vec();
            self.look(&line[..line.len().min(limits::HINT_LINE_BYTES)], &mut found);
        }
        found
    }

    fn look(&mut self, line: &[u8], found: &mut Vec<String>) {
        if self.is_empty() || !self.has_time() {
            return;
        }
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end();
        let left = limits::HINT_TIME.saturating_sub(self.spent);
        let (begin, wall) = (used(), Instant::now());
        self.rules.retain(|(regex, text)| {
            // The clock on the wall is never behind, and is read much faster.
            if wall.elapsed() >= left && used().saturating_sub(begin) >= left {
                return true;
            }
            let Some(captures) = regex.captures(line) else { return true };
            let mut said = String::new();
            captures.expand(text, &mut said);
            said.truncate(said.floor_char_boundary(limits::HINT_TEXT_BYTES));
            found.push(printable(&said));
            false
        });
        self.spent += used().saturating_sub(begin);
        if !self.has_time() {
            let elapsed_ms = self.spent.as_millis();
            tracing::debug!(elapsed_ms, "no more hints are looked for here: they take too long");
        }
    }

    fn has_time(&self) -> bool {
        self.spent < limits::HINT_TIME
    }
}

/// What this thread has used of the processor: where many want it, time passes without that.
fn used() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

fn compile(pattern: &str, text: &str) -> Result<Regex, String> {
    let most = limits::HINT_SOURCE_BYTES;
    if pattern.len().max(text.len()) > most {
        return Err(format!(
            "its pattern has {} bytes, its text {}: at most {most}",
            pattern.len(),
            text.len()
        ));
    }
    let built = RegexBuilder::new(pattern).size_limit(limits::HINT_PATTERN_BYTES).build();
    let regex = built.map_err(|error| printable(&error.to_string()))?;
    match regex.captures_len() - 1 {
        groups if groups > limits::HINT_GROUPS => {
            Err(format!("it has {groups} groups, and may have {}", limits::HINT_GROUPS))
        }
        _ => Ok(regex),
    }
}

#[cfg(test)]
mod tests {
    use pid1_sdk::project::{LANGUAGES, Language};

    use super::*;

    #[test]
    fn each_advice_is_given_once_at_the_beginning_or_the_end() {
        let (mut hints, wrong) =
            Hints::new([("No module named '([^']+)'", "install $1"), ("[", "never"), ("^done$", "done")]);
        assert!(wrong.len() == 1 && wrong[0].contains("\"[\""), "{wrong:?}");
        assert!(hints.beginning(b"No module ").is_empty());
        assert_eq!(hints.beginning(b"named 'a'\r\nNo module named 'b'\r\n"), ["install a"]);
        assert!(hints.at_beginning());
        hints.beginning("x\n".repeat(limits::HINT_BEGINNING_BYTES).as_bytes());
        assert!(!hints.at_beginning());
        assert_eq!(hints.end(b"x\ndone\r\n"), ["done"]);
        assert!(hints.is_empty() && hints.end(b"done\n").is_empty());
    }

    #[test]
    fn of_a_long_line_the_beginning_is_looked_at_and_what_is_said_can_be_shown() {
        let all = |text: &str| Hints::new([("^(a+) (.*)$", text)]).0;
        let line = ["a ".as_bytes(), "é".repeat(limits::HINT_LINE_BYTES).as_bytes(), b"\n"].concat();
        assert_eq!(all("saw $1\x1b[31m").beginning(&line), ["saw a [31m"]);
        let [long] = &all(&"$2".repeat(500)).end(&line)[..] else { panic!("one advice") };
        assert!(
            (limits::HINT_TEXT_BYTES - 1..=limits::HINT_TEXT_BYTES).contains(&long.len()),
            "{}",
            long.len()
        );
    }

    /// As Python 3.13, rustc and gcc print on a terminal.
    #[test]
    fn colours_hide_nothing() {
        for (language, line, expected) in [
            (
                "python",
                "\x1b[1;35mModuleNotFoundError\x1b[0m: \x1b[35mNo module named 'flask'\x1b[0m\r\n",
                "pip install flask`",
            ),
            (
                "rust",
                "\x1b[1m\x1b[91merror[E0432]\x1b[0m\x1b[1m: unresolved import `rand`\x1b[0m\r\n",
                "cargo add rand`",
            ),
            (
                "c",
                "\x1b[01m\x1b[Kmain.c:1:10:\x1b[m\x1b[K \x1b[01;31m\x1b[Kfatal error: \x1b[m\x1b[Knope.h: No such file or directory\r\n",
                "The header nope.h is",
            ),
            // With a link around the name, and more colours than a line may have bytes.
            (
                "bash",
                &format!(
                    "{}\x1b]8;;https://x/y\x1b\\jq\x1b]8;;\x1b\\: command not found\n",
                    "\x1b[1m".repeat(500)
                ),
                "\"jq\"",
            ),
        ] {
            let hints = || {
                let all = Language::find(language).unwrap().hints.iter();
                Hints::new(all.map(|hint| (hint.regex.as_ref(), hint.message.as_ref()))).0
            };
            let (mut begun, mut pieces) = (hints(), hints());
            // However it comes.
            let found: Vec<_> = line.as_bytes().chunks(1).flat_map(|byte| pieces.beginning(byte)).collect();
            for found in [begun.beginning(line.as_bytes()), found, hints().end(line.as_bytes())] {
                assert!(matches!(&found[..], [hint] if hint.contains(expected)), "{line:?}: {found:?}");
            }
        }
        // One without an end takes only its line away.
        let mut hints = Hints::new([("^done$", "well")]).0;
        assert_eq!(hints.beginning(b"\x1b]0;title\ndone\n"), ["well"]);
    }

    #[test]
    fn what_a_pattern_may_cost_is_bounded() {
        let long = "x".repeat(limits::HINT_SOURCE_BYTES + 1);
        let groups = "()".repeat(limits::HINT_GROUPS + 1);
        let bad = [("(?:\\w{100}){90}", ""), (&long, ""), ("a", &long), (&groups, "")];
        let (hints, wrong) = Hints::new(bad);
        assert!(hints.is_empty() && wrong.len() == bad.len(), "{wrong:?}");
        assert!(wrong.iter().all(|why| why.len() < 300), "{wrong:?}");
        // As slow as they may be: in the end none is looked for.
        let slow: Vec<_> = (0..limits::HINTS).map(|n| format!("(?:.{{0,90}}){{2}}b{n}")).collect();
        let (mut hints, wrong) = Hints::new(slow.iter().map(|pattern| (pattern.as_str(), "")));
        assert!(wrong.is_empty(), "{wrong:?}");
        let line = "a".repeat(limits::HINT_LINE_BYTES) + "\n";
        let begin = used();
        hints.beginning(line.repeat(100).as_bytes());
        let spent = used() - begin;
        assert!(!hints.at_beginning() && spent < 10 * limits::HINT_TIME, "{spent:?}");
    }

    #[test]
    fn those_of_the_languages_can_be_used() {
        let all = LANGUAGES.iter().flat_map(|language| language.hints);
        let (_, wrong) = Hints::new(all.map(|hint| (hint.regex.as_ref(), hint.message.as_ref())));
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
