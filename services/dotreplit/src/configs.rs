//! What `toolchainGetRequest` is answered: from `.replit` and from what is known of the workspace's languages.
//!
//! Formatters and debuggers are left out: the agent knows of none.

use pid1_sdk::Result;
use pid1_sdk::api::{
    CompileConfig, DotReplitLanguage, Exec, FileTypeAttrs, InterpConfig, LanguageServerConfig,
    LanguageServerOption, PackagerOption, RunConfig, RunOption, ToolchainConfigs,
};
use pid1_sdk::project::{DotReplit, Language, Project};

/// What stands in commands for the file that is to be run.
const ANY_FILE: &str = "$file";

/// What there is, now.
pub fn configs(project: &Project<'_>) -> Result<ToolchainConfigs> {
    let file = project.dot_replit()?;
    let languages = project.languages()?;
    let entrypoint = match file.entrypoint.is_empty() {
        false => file.entrypoint.clone(),
        // That of the main language, or of whatever the program is.
        true => {
            project.detect(languages.first().copied())?.and_then(|found| found.entrypoint).unwrap_or_default()
        }
    };
    // Maps of messages have no order; two looks at the same shall be the same.
    let mut language_servers: Vec<_> =
        file.to_message().languages.into_iter().filter_map(language_server).collect();
    language_servers.sort_by(|one, other| one.id.cmp(&other.id));
    language_servers
        .extend(file.main_language_server().map(|server| main_server(server, &file, languages.first())));
    Ok(ToolchainConfigs {
        entrypoint,
        runs: own_runs(project, &file)?
            .into_iter()
            .chain(languages.iter().map(|language| run(language)))
            .collect(),
        debuggers: Vec::new(),
        language_servers,
        packagers: languages.iter().filter_map(|language| packager(language, &file)).collect(),
        formatters: Vec::new(),
        disable_install_before_run: false,
        disable_guess_imports: !file.packager.features.guess_imports,
    })
}

/// What `.replit` says itself.
fn own_runs(project: &Project<'_>, file: &DotReplit) -> Result<Vec<RunOption>> {
    let mut runs = Vec::new();
    if let Some(command) = project.own_run(file)? {
        let compiled = file.compile.as_ref().filter(|_| file.run.as_ref() == Some(&command));
        runs.push(RunOption {
            id: "dotreplit".to_owned(),
            name: ".replit".to_owned(),
            language: file.language.clone(),
            compile: compiled.map(|command| compile(command.to_exec(), true)),
            run: Some(RunConfig { command: Some(command.to_exec()) }),
            ..RunOption::default()
        });
    }
    if let Some(command) = &file.interpreter.command {
        runs.push(RunOption {
            id: "interpreter".to_owned(),
            name: ".replit interpreter".to_owned(),
            language: file.language.clone(),
            interpreter: true,
            interp: Some(InterpConfig { command: Some(command.to_exec()) }),
            ..RunOption::default()
        });
    }
    Ok(runs)
}

fn run(language: &Language) -> RunOption {
    let exec = |args: &[&str]| {
        let filled =
            args.iter().map(|arg| arg.replace("{entrypoint}", ANY_FILE).replace("{build}", super::BUILD));
        (!args.is_empty()).then(|| Exec { args: filled.collect(), ..Exec::default() })
    };
    let files = language.detect.iter().filter(|rule| rule.run.is_empty() && rule.entrypoint.is_empty());
    let files = files.map(|rule| rule.file).filter(|file| !file.starts_with('*'));
    RunOption {
        id: format!("language:{}", language.name),
        name: language.title.to_owned(),
        file_param: true,
        language: language.name.to_owned(),
        file_type_attrs: Some(attributes(language)),
        optional_file_param: true,
        compile: exec(language.compile).map(|command| compile(command, false)),
        run: Some(RunConfig { command: exec(language.run) }),
        default_entrypoints: files.map(str::to_owned).collect(),
        interp: exec(language.repl).map(|command| InterpConfig { command: Some(command) }),
        ..RunOption::default()
    }
}

fn compile(command: Exec, no_file_args: bool) -> CompileConfig {
    CompileConfig { command: Some(command), only_main: !no_file_args, no_file_args }
}

fn attributes(language: &Language) -> FileTypeAttrs {
    FileTypeAttrs {
        extensions: language.extensions.iter().map(|ending| (*ending).to_owned()).collect(),
        files: Vec::new(),
        file_pattern: language.pattern.to_owned(),
    }
}

fn packager(language: &Language, file: &DotReplit) -> Option<PackagerOption> {
    let packager = language.packager.as_ref()?;
    let features = &file.packager.features;
    Some(PackagerOption {
        id: packager.name.to_owned(),
        name: packager.name.to_owned(),
        language: language.name.to_owned(),
        packager_files: packager.files.iter().map(|name| (*name).to_owned()).collect(),
        enabled_for_hosting: features.enabled_for_hosting,
        package_search: features.package_search,
        guess_imports: features.guess_imports,
        ..PackagerOption::default()
    })
}

fn language_server((name, section): (String, DotReplitLanguage)) -> Option<LanguageServerOption> {
    let config = section.language_server.filter(|server| server.start_command.is_some())?;
    Some(LanguageServerOption {
        id: name.clone(),
        name: name.clone(),
        language: name,
        file_type_attrs: Some(FileTypeAttrs { file_pattern: section.pattern, ..FileTypeAttrs::default() }),
        config: Some(config),
        ..LanguageServerOption::default()
    })
}

/// The one that `.replit` names without a language: the main one's.
fn main_server(
    config: LanguageServerConfig,
    file: &DotReplit,
    language: Option<&&'static Language>,
) -> LanguageServerOption {
    LanguageServerOption {
        id: "dotreplit".to_owned(),
        name: ".replit".to_owned(),
        language: language.map_or(&*file.language, |language| language.name).to_owned(),
        file_type_attrs: language.map(|language| attributes(language)),
        config: Some(config),
        ..LanguageServerOption::default()
    }
}
