//! Advice that goes with what a program prints: a pattern that a line of output matches, and a text.
//!
//! Looked for in the beginning of the output, while a person reads it, and in its end when the program has failed: not in
//! a flood.

use std::collections::HashSet;

use regex_lite::Regex;

/// Lines are looked at in so much of the beginning.
const BEGINNING_BYTES: usize = 64 << 10;

/// ...and in so much of the end.
const END_BYTES: usize = 16 << 10;

/// A longer line is cut.
const LINE_BYTES: usize = 4 << 10;

/// Patterns and texts.
#[derive(Debug, Default)]
pub(crate) struct Rules(Vec<(Regex, String)>);

impl Rules {
    /// Of pairs of a pattern and a text, in which `$1` stands for what the first group has matched. What is no pattern is left
    /// out, and named in the second list.
    pub(crate) fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> (Rules, Vec<String>) {
        let (mut rules, mut wrong) = (Vec::new(), Vec::new());
        for (pattern, text) in pairs {
            match Regex::new(pattern) {
                Ok(regex) => rules.push((regex, text.to_owned())),
                Err(error) => {
                    wrong.push(format!("the pattern {pattern:?} of a hint cannot be used: {error}"))
                }
            }
        }
        (Rules(rules), wrong)
    }
}

/// What has been looked at of one run.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    bytes: usize,
    line: String,
    given: HashSet<usize>,
}

impl Looked {
    /// The program has printed: what is to be said to that, each advice once in a run.
    pub(crate) fn at(&mut self, rules: &Rules, text: &str) -> Vec<String> {
        if rules.0.is_empty() || self.bytes > BEGINNING_BYTES {
            return Vec::new();
        }
        self.bytes += text.len();
        let mut found = Vec::new();
        for piece in text.split_inclusive('\n') {
            if self.line.len() + piece.len() <= LINE_BYTES {
                self.line += piece;
            }
            if piece.ends_with('\n') {
                let line = std::mem::take(&mut self.line);
                self.look(rules, &line, &mut found);
            }
        }
        found
    }

    /// The program has failed, with this at the end of its output.
    pub(crate) fn at_end(&mut self, rules: &Rules, past: &str) -> Vec<String> {
        let mut found = Vec::new();
        let from = past.ceil_char_boundary(past.len().saturating_sub(END_BYTES));
        for line in past[from..].lines().filter(|line| line.len() <= LINE_BYTES) {
            self.look(rules, line, &mut found);
        }
        found
    }

    fn look(&mut self, rules: &Rules, line: &str, found: &mut Vec<String>) {
        for (number, (regex, text)) in rules.0.iter().enumerate() {
            if !self.given.contains(&number)
                && let Some(captures) = regex.captures(line.trim_end())
            {
                self.given.insert(number);
                let mut said = String::new();
                captures.expand(text, &mut said);
                found.push(said);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_advice_is_given_once_at_the_beginning_or_the_end() {
        let (rules, wrong) =
            Rules::new([("No module named '([^']+)'", "install $1"), ("[", "never"), ("^done$", "done")]);
        assert!(wrong.len() == 1 && wrong[0].contains("\"[\""), "{wrong:?}");
        let mut looked = Looked::default();
        assert!(looked.at(&rules, "No module ").is_empty());
        assert_eq!(looked.at(&rules, "named 'a'\r\nNo module named 'b'\r\n"), ["install a"]);
        // A flood is not looked at.
        let flood = "x\n".repeat(BEGINNING_BYTES);
        assert!(looked.at(&rules, &flood).is_empty());
        assert!(looked.at(&rules, "done\n").is_empty());
        assert_eq!(looked.at_end(&rules, &format!("{flood}done\r\n")), ["done"]);
        assert!(looked.at_end(&rules, "done\n").is_empty());
        assert!(Looked::default().at(&rules, &format!("{}done\n", "y".repeat(LINE_BYTES))).is_empty());
    }
}
