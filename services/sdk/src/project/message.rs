//! What `.replit` says as clients get it. What the agent acts on comes from the checked fields; the rest is looked up as
//! it stands there, and what is of another type than it should be is left out.

use std::collections::HashMap;

use prost_types::{ListValue, NullValue, Struct, Value as Any, value::Kind};
use serde::Deserialize as _;
use toml::Value;

use super::command::CommandLine;
use super::dot_replit::{DotReplit, LanguageSection, LanguageServer};
use crate::api;

/// A table of the file, or none.
#[derive(Clone, Copy)]
struct Section<'a>(Option<&'a toml::Table>);

impl<'a> Section<'a> {
    fn get(self, key: &str) -> Option<&'a Value> {
        self.0?.get(key)
    }

    fn at(self, key: &str) -> Section<'a> {
        Section(self.get(key).and_then(Value::as_table))
    }

    fn text(self, key: &str) -> String {
        self.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    fn flag(self, key: &str) -> bool {
        self.get(key).and_then(Value::as_bool).unwrap_or_default()
    }

    fn number(self, key: &str) -> i64 {
        self.get(key).and_then(Value::as_integer).unwrap_or_default()
    }

    fn list(self, key: &str) -> &'a [Value] {
        self.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    fn texts(self, key: &str) -> Vec<String> {
        self.list(key).iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    fn sections<T>(self, key: &str, each: impl Fn(Section<'a>) -> T) -> Vec<T> {
        self.list(key).iter().filter_map(Value::as_table).map(|table| each(Section(Some(table)))).collect()
    }

    fn command(self, key: &str) -> Option<api::Exec> {
        let command = CommandLine::deserialize(self.get(key)?.clone()).ok()?;
        command.or_none().map(|command| command.to_exec())
    }

    /// JSON as the file has it: as a text that is JSON, or as a table.
    fn json(self, key: &str) -> String {
        match self.get(key) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => serde_json::to_string(other).unwrap_or_default(),
            None => String::new(),
        }
    }

    fn object(self, key: &str) -> Option<Struct> {
        self.at(key).0.map(object)
    }

    /// `make` of what is there.
    fn map<T>(self, make: impl FnOnce(Section<'a>) -> T) -> Option<T> {
        self.0.map(|_| make(self))
    }
}

impl DotReplit {
    /// What `[languageServer]` says, of the main language: as clients get it, with their languages.
    pub fn main_language_server(&self) -> Option<api::LanguageServerConfig> {
        let section = Section(Some(&self.table)).at("languageServer");
        self.language_server.start.as_ref()?;
        section.map(|section| server(section, &self.language_server))
    }

    /// The same as clients get it.
    pub fn to_message(&self) -> api::DotReplit {
        let file = Section(Some(&self.table));
        let (packager, features) = (&self.packager, &self.packager.features);
        let exec = |command: &Option<CommandLine>| command.as_ref().map(CommandLine::to_exec);
        api::DotReplit {
            run: exec(&self.run),
            compile: exec(&self.compile),
            debugger: file.at("debugger").map(debugger),
            language: self.language.clone(),
            on_boot: exec(&self.on_boot),
            packager: file.at("packager").map(|section| api::DotReplitPackager {
                after_install: exec(&packager.after_install),
                ignored_paths: packager.ignored_paths.clone(),
                ignored_packages: packager.ignored_packages.clone(),
                language: packager.language.clone(),
                features: section.at("features").map(|_| api::DotReplitPackagerFeatures {
                    package_search: features.package_search,
                    guess_imports: features.guess_imports,
                    enabled_for_hosting: features.enabled_for_hosting,
                }),
                env: packager.env.iter().cloned().collect(),
            }),
            interpreter: file.at("interpreter").map(|_| api::DotReplitInterp {
                command: exec(&self.interpreter.command),
                prompt: self.interpreter.prompt.clone().into(),
            }),
            entrypoint: self.entrypoint.clone(),
            languages: self
                .languages
                .iter()
                .map(|(name, own)| (name.clone(), language(file, name, own)))
                .collect(),
            unit_test: file
                .at("unitTest")
                .map(|_| api::DotReplitUnitTest { language: self.unit_test.language.clone() }),
            hidden: self.hidden.clone(),
            nix: file.at("nix").map(|nix| api::NixConfig { channel: nix.text("channel") }),
            audio: file.flag("audio"),
            hosting: file.at("hosting").map(|hosting| api::HostingConfig {
                route: hosting.text("route"),
                directory: hosting.text("directory"),
            }),
            env: self.env.iter().cloned().collect(),
            git_hub_import: file
                .at("gitHubImport")
                .map(|import| api::GitHubImportConfig { required_files: import.texts("requiredFiles") }),
            auth: file.at("auth").map(|auth| api::AuthConfig {
                page_enabled: auth.flag("pageEnabled"),
                page_title: auth.text("pageTitle"),
                page_description: auth.text("pageDescription"),
                page_color: auth.text("pageColor"),
                page_image: auth.text("pageImage"),
                button_enabled: auth.flag("buttonEnabled"),
            }),
            hints_list: self
                .hints
                .iter()
                .map(|hint| api::DotReplitHint {
                    regex: hint.regex.clone().into_owned(),
                    message: hint.message.clone().into_owned(),
                })
                .collect(),
            ports: self
                .ports
                .iter()
                .map(|port| api::DotReplitPort {
                    local_port: port.local_port.into(),
                    external_port: port.external_port.into(),
                    expose_localhost: port.expose_localhost,
                })
                .collect(),
            ordered_env: self
                .env
                .iter()
                .map(|(key, value)| api::DotReplitEnvVar { key: key.clone(), value: value.clone() })
                .collect(),
            refresh_web_view_on_file_change: file.texts("refreshWebViewOnFileChange"),
            deployment: file.at("deployment").map(deployment),
            modules: self.modules.clone(),
            extension: file.at("extension").map(|extension| api::ExtensionConfig {
                is_extension: extension.flag("isExtension"),
                extension_id: extension.text("extensionID"),
                build_command: extension.text("buildCommand"),
                output_directory: extension.text("outputDirectory"),
                static_directory: extension.text("staticDirectory"),
            }),
            rules: file
                .at("rules")
                .map(|rules| api::RulesConfig { formatter: rules.at("formatter").map(formatters) }),
            suggestions: file
                .at("suggestions")
                .map(|suggestions| api::SuggestionsConfig { extensions: suggestions.texts("extensions") }),
            object_storage: file.at("objectStorage").map(|storage| api::ObjectStorageConfig {
                default_bucket_id: storage.text("defaultBucketID"),
            }),
            auto_save: file
                .at("autoSave")
                .map(|save| api::AutoSaveConfig { disabled: save.flag("disabled") }),
        }
    }
}

fn language(file: Section<'_>, name: &str, own: &LanguageSection) -> api::DotReplitLanguage {
    let section = file.at("languages").at(name).at("languageServer");
    api::DotReplitLanguage {
        pattern: own.pattern.clone(),
        syntax: own.syntax.clone(),
        language_server: section.map(|section| server(section, &own.language_server)),
    }
}

fn server(section: Section<'_>, own: &LanguageServer) -> api::LanguageServerConfig {
    api::LanguageServerConfig {
        start_command: own.start.as_ref().map(CommandLine::to_exec),
        configuration_json: section.json("configuration"),
        initialization_options_json: section.json("initializationOptions"),
    }
}

fn debugger(section: Section<'_>) -> api::DebuggerConfig {
    api::DebuggerConfig {
        support: section.flag("support"),
        compile: section.get("compile").map(|_| {
            let compile = section.at("compile");
            api::CompileConfig {
                // A table that is a command, has one, or is one written short.
                command: compile.command("command").or_else(|| section.command("compile")),
                only_main: compile.flag("onlyMain"),
                no_file_args: compile.flag("noFileArgs"),
            }
        }),
        interactive: section.at("interactive").map(adapter),
        time_travel: section.at("timeTravel").map(|travel| api::TimeTravelConfig {
            record: travel.command("record"),
            debug: travel.at("debug").map(adapter),
        }),
        dap_transport: section.text("dapTransport"),
        dap_connect_timeout: section.number("dapConnectTimeout"),
        dap_integrated_adapter: section.at("dapIntegratedAdapter").map(integrated),
        dap_start_command: section.command("dapStartCommand"),
        dap_initialize_message: section.object("dapInitializeMessage"),
        dap_launch_message: section.object("dapLaunchMessage"),
    }
}

fn adapter(section: Section<'_>) -> api::DapConfig {
    api::DapConfig {
        transport: section.text("transport"),
        connect_timeout: section.number("connectTimeout"),
        integrated_adapter: section.at("integratedAdapter").map(integrated),
        start_command: section.command("startCommand"),
        initialize_message: section.object("initializeMessage"),
        launch_message: section.object("launchMessage"),
    }
}

fn integrated(section: Section<'_>) -> api::DapIntegratedAdapterConfig {
    api::DapIntegratedAdapterConfig { dap_tcp_address: section.text("dapTcpAddress") }
}

fn deployment(section: Section<'_>) -> api::DeploymentConfig {
    let target = section.text("deploymentTarget").to_uppercase();
    let target = api::deployment_config::Target::from_str_name(&target).unwrap_or_default();
    api::DeploymentConfig {
        run: section.command("run"),
        build: section.command("build"),
        ignore_ports: section.flag("ignorePorts"),
        target: target.into(),
        public_dir: section.text("publicDir"),
        rewrites: section.sections("rewrites", |rule| api::deployment_config::RewriteRule {
            from: rule.text("from"),
            to: rule.text("to"),
        }),
        response_headers: section.sections("responseHeaders", |header| api::deployment_config::Header {
            path: header.text("path"),
            name: header.text("name"),
            value: header.text("value"),
        }),
        post_build: section.command("postBuild"),
    }
}

fn formatters(section: Section<'_>) -> api::FormatterRules {
    let by_name = |key: &str| -> HashMap<String, api::FormatterConfig> {
        let named = section.at(key);
        let all = named.0.into_iter().flat_map(toml::Table::keys);
        all.map(|name| (name.clone(), api::FormatterConfig { id: named.at(name).text("id") })).collect()
    };
    api::FormatterRules {
        patterns: section.sections("patterns", |rule| api::FormatterConfigWithPattern {
            id: rule.text("id"),
            pattern: rule.text("pattern"),
        }),
        file_extensions: by_name("fileExtensions"),
        languages: by_name("languages"),
    }
}

/// As deep as TOML may be, which the parser bounds.
fn object(table: &toml::Table) -> Struct {
    Struct { fields: table.iter().map(|(key, value)| (key.clone(), any(value))).collect() }
}

fn any(value: &Value) -> Any {
    let kind = match value {
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Integer(number) => Kind::NumberValue(*number as f64),
        Value::Float(number) if number.is_finite() => Kind::NumberValue(*number),
        Value::Float(_) => Kind::NullValue(NullValue::NullValue.into()),
        Value::Boolean(flag) => Kind::BoolValue(*flag),
        Value::Datetime(time) => Kind::StringValue(time.to_string()),
        Value::Array(list) => Kind::ListValue(ListValue { values: list.iter().map(any).collect() }),
        Value::Table(table) => Kind::StructValue(object(table)),
    };
    Any { kind: Some(kind) }
}
