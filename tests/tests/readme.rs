//! Does the README say what happens?
//!
//! Every command in its blocks marked `console` (the lines that begin with `$ `) is run, in order, in a folder
//! where the repository's files are at hand, and must print what stands below it. Numbers differ from run to run,
//! so digits are compared as `#`, and so are the hexadecimal names of keys and hashes; white space counts once. A
//! line of `…` stands for any number of lines.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use milepost_tests::{Program, Said, Turn, repository};

/// Commands that are not run here, by how they begin, and why.
const NOT_RUN: [(&str, &str); 7] = [
    ("git clone", "it fetches what is here already"),
    ("cd ", "the commands are run in the folder that it leads to"),
    ("scripts/demo.sh", "it builds, and then does what demo.rs tests"),
    ("scripts/test.sh", "it runs this test"),
    ("scripts/setup.sh", "it installs compilers"),
    ("cargo ", "it builds, or runs this test"),
    ("docker ", "it needs a daemon, and builds"),
];
/// How long a command may take; what takes longer belongs into [`NOT_RUN`].
const COMMAND_MAX: Duration = Duration::from_secs(90);
/// A word of so many hexadecimal digits names something, and differs from run to run.
const NAME_LEN_MIN: usize = 8;

#[test]
fn every_command_in_the_readme_prints_what_it_says() {
    let path = repository().join("README.md");
    let readme = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: expected the README: {error}", path.display()));
    let examples = examples(&readme);
    assert!(
        !examples.is_empty(),
        "{}: expected commands (lines that begin with `$ `) in blocks marked ```console, found none",
        path.display()
    );
    let _turn = Turn::wait();
    let folder = workplace();
    for example in examples {
        if let Some((_, why)) = NOT_RUN
            .iter()
            .find(|(begin, _)| example.command.starts_with(begin))
        {
            println!("not run: {} ({why})", example.command);
            continue;
        }
        check(&example, folder.path());
    }
}

/// A command, and what it is said to print.
#[derive(Debug, PartialEq, Eq)]
struct Example {
    line: usize,
    command: String,
    output: Vec<String>,
}

fn examples(readme: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut inside = false;
    for (at, text) in readme.lines().enumerate() {
        if text.trim_start().starts_with("```") {
            inside = text.trim() == "```console";
        } else if !inside {
            continue;
        } else if let Some(command) = text.strip_prefix("$ ") {
            examples.push(Example {
                line: at + 1,
                command: command.to_owned(),
                output: Vec::new(),
            });
        } else if let Some(example) = examples.last_mut() {
            match example.command.strip_suffix('\\') {
                Some(first) if example.output.is_empty() => {
                    example.command = format!("{} {}", first.trim_end(), text.trim());
                }
                _ => example.output.push(text.to_owned()),
            }
        }
    }
    examples
}

/// A folder with the repository's files, where what commands write hurts nobody.
fn workplace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    for entry in std::fs::read_dir(repository()).expect("the repository can be listed") {
        let entry = entry.expect("the repository can be listed");
        if entry.file_name() != "target" {
            let link = folder.path().join(entry.file_name());
            std::os::unix::fs::symlink(entry.path(), link).expect("a link can be made");
        }
    }
    std::fs::create_dir(folder.path().join("target")).expect("a folder can be made");
    std::os::unix::fs::symlink(Program::folder(), folder.path().join("target/release"))
        .expect("a link can be made");
    folder
}

fn check(example: &Example, folder: &Path) {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut bash = Command::new("bash");
    bash.args(["-c", &example.command])
        .current_dir(folder)
        .env("PATH", format!("{}:{path}", Program::folder().display()));
    let said = Said::by(&mut bash, COMMAND_MAX).ended_with(0);
    let printed: Vec<String> = said.stdout.lines().map(normal).collect();
    let expected: Vec<String> = example.output.iter().map(|line| normal(line)).collect();
    assert!(
        matches(trimmed(&expected), trimmed(&printed)),
        "README.md:{}: `{}` should print, up to numbers,\n{}\n-- but printed\n{}\n-- whole: {said}",
        example.line,
        example.command,
        expected.join("\n"),
        printed.join("\n")
    );
}

/// Without empty lines at both ends.
fn trimmed(lines: &[String]) -> &[String] {
    let is_full = |line: &String| !line.is_empty();
    let begin = lines.iter().position(is_full).unwrap_or(lines.len());
    let end = lines.iter().rposition(is_full).map_or(begin, |last| last + 1);
    &lines[begin..end]
}

/// Whether lines are as expected, where `…` stands for any.
fn matches(expected: &[String], printed: &[String]) -> bool {
    match expected.split_first() {
        None => printed.is_empty(),
        Some((first, rest)) if first == "…" => {
            (0..=printed.len()).any(|skipped| matches(rest, &printed[skipped..]))
        }
        Some((first, rest)) => printed
            .split_first()
            .is_some_and(|(found, left)| found == first && matches(rest, left)),
    }
}

/// A line with `#` for every number and name, and one space for white space.
fn normal(line: &str) -> String {
    let words: Vec<String> = line.split_whitespace().map(normal_word).collect();
    words.join(" ")
}

fn normal_word(word: &str) -> String {
    // Letters and digits in a row, and what stands between them.
    let mut parts: Vec<String> = Vec::new();
    let mut was_alphanumeric = None;
    for char in word.chars() {
        let is = char.is_alphanumeric();
        match parts.last_mut() {
            Some(part) if was_alphanumeric == Some(is) => part.push(char),
            _ => parts.push(char.to_string()),
        }
        was_alphanumeric = Some(is);
    }
    let named: String = parts.iter().map(|part| normal_part(part)).collect();
    // 1.5 is one number, as 15 is.
    named.replace("#.#", "#").replace("-#", "#")
}

fn normal_part(part: &str) -> String {
    let digits = part.strip_prefix("0x").unwrap_or(part);
    if digits.len() >= NAME_LEN_MIN && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return "#".to_owned();
    }
    let mut normal = String::new();
    for char in part.chars() {
        match char {
            '0'..='9' if normal.ends_with('#') => {}
            '0'..='9' => normal.push('#'),
            _ => normal.push(char),
        }
    }
    normal
}

#[test]
fn numbers_and_names_are_compared_as_such() {
    let lines = [
        "height      12 (0.4 s ago)",
        "0xf39Fd6e51aad88F6 holds 1.500000",
        "…",
    ]
    .map(normal);
    assert_eq!(lines, ["height # (# s ago)", "# holds #", "…"]);
    let printed = [
        "height 7 (13.0 s ago)",
        "0x00000000000000ff holds 0.1",
        "one",
        "two",
    ]
    .map(normal);
    assert!(matches(&lines, &printed));
    assert!(!matches(&lines[..2], &printed));
    assert_ne!(normal("12 vehicles"), normal("12 members"));
}

#[test]
fn commands_are_found_with_what_they_print() {
    let readme = "text\n```console\n$ one \\\n    --two\nthree\n$ four\n```\n```sh\n$ no\n```\n";
    let example = |line, command: &str, output: &[&str]| Example {
        line,
        command: command.to_owned(),
        output: output.iter().map(|line| (*line).to_owned()).collect(),
    };
    assert_eq!(
        examples(readme),
        [example(3, "one --two", &["three"]), example(6, "four", &[])]
    );
}
