//! A command as `.replit` has it: a line for the shell, a list of arguments, or a table with those and an environment.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::env::Variables;
use crate::api;

/// A command, by its arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// The program and what it is given. Never empty, but where a table has only an environment.
    pub args: Vec<String>,
    /// Added to its environment, in the order of the file.
    pub env: Vec<(String, String)>,
}

impl CommandLine {
    /// A line for the shell.
    pub fn shell(line: impl Into<String>) -> Self {
        CommandLine { args: vec!["sh".into(), "-c".into(), line.into()], env: Vec::new() }
    }

    /// Whether it runs nothing.
    pub fn is_empty(&self) -> bool {
        match &self.args[..] {
            [sh, c, line] if sh == "sh" && c == "-c" => line.trim().is_empty(),
            args => args.iter().all(|arg| arg.trim().is_empty()),
        }
    }

    /// It, if it runs something.
    pub(super) fn or_none(self) -> Option<Self> {
        (!self.is_empty()).then_some(self)
    }

    /// The same as clients get it.
    pub fn to_exec(&self) -> api::Exec {
        let env = self.env.iter().cloned().collect();
        api::Exec { args: self.args.clone(), env, ..api::Exec::default() }
    }
}

impl<'de> Deserialize<'de> for CommandLine {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = CommandLine;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a command: \"a line for the shell\", [\"program\", \"argument\"], or { args = [\"program\"], env = { NAME = \"value\" } }",
        )
    }

    fn visit_str<E: de::Error>(self, line: &str) -> Result<CommandLine, E> {
        Ok(CommandLine::shell(without_nul(line)?))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<CommandLine, A::Error> {
        let mut args = Vec::new();
        while let Some(arg) = list.next_element::<String>()? {
            args.push(without_nul(&arg)?.to_owned());
        }
        Ok(CommandLine { args, env: Vec::new() })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<CommandLine, A::Error> {
        let mut command = CommandLine::default();
        while let Some(key) = table.next_key::<String>()? {
            match key.as_str() {
                "args" | "command" => command.args = table.next_value::<CommandLine>()?.args,
                "env" => command.env = table.next_value::<Variables>()?.0,
                _ => drop(table.next_value::<de::IgnoredAny>()?),
            }
        }
        Ok(command)
    }
}

/// No argument and no variable can hold a NUL.
pub(super) fn without_nul<E: de::Error>(text: &str) -> Result<&str, E> {
    match text.contains('\0') {
        true => Err(E::custom("there is a NUL in it, which no program can be given")),
        false => Ok(text),
    }
}
