//! A fence's language. It is the agent's word: only what is known or harmless of it goes on.

/// The most characters of a language's name.
const MAX_NAME: usize = 20;

/// The language's name in a fence's info string, such as `rust` in `rust,no_run`. Empty when it has none, or one with other
/// characters than those of `c++`, `objective-c`, `f#` and the like.
pub fn name(info: &str) -> String {
    let first = info.trim().split([' ', '\t', '\n', ',', '{', ':']).next().unwrap_or("");
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '#' | '_' | '.');
    if first.chars().count() > MAX_NAME || !first.chars().all(plain) {
        return String::new();
    }
    first.to_ascii_lowercase()
}

/// The extension of a file in this language.
pub fn extension(language: &str) -> &'static str {
    match language {
        "bash" | "sh" | "shell" | "zsh" | "console" => "sh",
        "c" => "c",
        "c++" | "cpp" | "cxx" => "cpp",
        "c#" | "cs" | "csharp" => "cs",
        "css" => "css",
        "csv" => "csv",
        "diff" | "patch" => "diff",
        "go" | "golang" => "go",
        "h" | "hpp" => "h",
        "html" => "html",
        "java" => "java",
        "javascript" | "js" | "jsx" => "js",
        "json" | "jsonc" => "json",
        "kotlin" | "kt" => "kt",
        "lua" => "lua",
        "markdown" | "md" => "md",
        "php" => "php",
        "powershell" | "ps1" => "ps1",
        "py" | "python" | "python3" => "py",
        "r" => "r",
        "rb" | "ruby" => "rb",
        "rs" | "rust" => "rs",
        "scala" => "scala",
        "sql" => "sql",
        "svg" => "svg",
        "swift" => "swift",
        "toml" => "toml",
        "ts" | "typescript" => "ts",
        "tsx" => "tsx",
        "xml" => "xml",
        "yaml" | "yml" => "yaml",
        "zig" => "zig",
        _ => "txt",
    }
}
