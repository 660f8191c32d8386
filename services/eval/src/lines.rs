//! What an interpreter says on its descriptor 201: JSON, a line each.
//!
//! What it deliberately does not do: keep a line that is longer than may be; believe that what it reads is UTF-8, or that
//! it means anything.

use std::fmt;

use bytes::BytesMut;
use pid1_sdk::limits;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

/// Room for one read: an answer of everyday size.
const READ_BYTES: usize = 16 << 10;

/// What comes on the descriptor.
#[derive(Debug)]
pub enum Line {
    /// A line, with what ends it.
    Whole(BytesMut),
    /// It was longer than [`limits::EVAL_LINE_BYTES`].
    TooLong,
    /// Nothing more comes.
    End,
}

/// Reads lines.
#[derive(Debug)]
pub struct Lines {
    pipe: Receiver,
    buffer: BytesMut,
    /// So much of it is known to have no line's end.
    looked_at: usize,
    /// What comes is the rest of a line that is too long.
    skipping: bool,
}

impl Lines {
    pub fn new(pipe: Receiver) -> Self {
        Lines { pipe, buffer: BytesMut::new(), looked_at: 0, skipping: false }
    }

    /// The next line. Cancel-safe: what was read so far is here.
    pub async fn next(&mut self) -> Line {
        loop {
            if let Some(at) = self.buffer[self.looked_at..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.looked_at + at + 1);
                self.looked_at = 0;
                if std::mem::take(&mut self.skipping) || line.len() > limits::EVAL_LINE_BYTES {
                    return Line::TooLong;
                }
                return Line::Whole(line);
            }
            self.looked_at = self.buffer.len();
            self.skipping |= self.looked_at > limits::EVAL_LINE_BYTES;
            if self.skipping || self.buffer.is_empty() {
                // Nobody keeps the room that one long line has taken.
                self.buffer = BytesMut::new();
                self.looked_at = 0;
            }
            self.buffer.reserve(READ_BYTES.max(self.looked_at));
            match self.pipe.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return Line::End,
                Ok(_) => {}
            }
        }
    }
}

/// What a line means.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    Ready,
    /// What came of the evaluation: which one, if that is said, and its value or what went wrong.
    Outcome(Option<u64>, Result<String, String>),
    /// Something that this agent does not know.
    Unknown,
}

/// What `line` means; why it means nothing.
pub fn understand(line: &[u8]) -> Result<Said, serde_json::Error> {
    #[derive(serde::Deserialize)]
    struct Named {
        command: Text,
    }
    #[derive(serde::Deserialize)]
    struct Outcome {
        #[serde(default)]
        id: Option<u64>,
        #[serde(default)]
        data: Option<Text>,
        #[serde(default)]
        error: Option<Text>,
    }
    let Named { command } = serde_json::from_slice(line)?;
    Ok(match command.0.as_str() {
        "ready" => Said::Ready,
        "result" => {
            let Outcome { id, data, error } = serde_json::from_slice(line)?;
            let outcome = match error {
                Some(Text(error)) if !error.is_empty() => Err(error),
                _ => Ok(data.map(|Text(data)| data).unwrap_or_default()),
            };
            Said::Outcome(id, outcome)
        }
        _ => Said::Unknown,
    })
}

/// A string in which half a surrogate pair, and bytes that are not UTF-8, become U+FFFD: many libraries write the former.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Text, E> {
                Ok(Text(String::from_utf8_lossy(bytes).into_owned()))
            }
        }
        from.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood_as_far_as_they_mean_anything() {
        let said = |line: &str| understand(line.as_bytes()).map_err(|error| error.to_string());
        assert_eq!(said(r#"{"command":"ready"}"#), Ok(Said::Ready));
        let value = |text: &str| Ok(Said::Outcome(None, Ok(text.to_owned())));
        assert_eq!(said(r#"{"command":"result","data":"\u00e9\n\u0000","error":""}"#), value("é\n\0"));
        assert_eq!(said(r#"{"command":"result"}"#), value(""));
        assert_eq!(said(r#"{"command":"result","data":null,"error":null,"more":1}"#), value(""));
        assert_eq!(said(r#"{"command":"result","id":7}"#), Ok(Said::Outcome(Some(7), Ok(String::new()))));
        let failed = Ok(Said::Outcome(None, Err("no".into())));
        assert_eq!(said(r#"{"command":"result","data":"x","error":"no"}"#), failed);
        assert_eq!(said(r#"{"command":"stack","data":{"depth":1}}"#), Ok(Said::Unknown));
        for bad in ["", "\n", "ready", "{}", "[]", r#"{"command":1}"#, r#"{"command":"result","data":1}"#] {
            assert!(said(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_no_text_is_replaced() {
        let said = understand(br#"{"command":"result","data":"a\ud83d\ude00b\ud800c"}"#).unwrap();
        let Said::Outcome(None, Ok(text)) = said else { panic!("{said:?}") };
        assert!(text.starts_with("a😀b\u{fffd}") && text.ends_with('c'), "{text:?}");
        let said = understand(b"{\"command\":\"result\",\"data\":\"a\xffb\"}").unwrap();
        assert_eq!(said, Said::Outcome(None, Ok("a\u{fffd}b".into())));
    }
}
