use cofferdam_protocol::admin::KeyPlace;

use super::*;

struct Case {
    dir: tempfile::TempDir,
    env: Vec<(&'static str, &'static str)>,
}

impl Case {
    fn new(toml: &str, dotenv: &str, env: &[(&'static str, &'static str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("cofferdam.toml"), toml).unwrap();
        std::fs::write(dir.path().join(".env"), dotenv).unwrap();
        Self { dir, env: env.to_vec() }
    }

    fn load(&self) -> Result<HostConfig, ConfigError> {
        let env = |name: &str| self.env.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string());
        HostConfig::load(&Home::new(self.dir.path()).unwrap(), &env)
    }

    fn error(&self) -> String {
        let error = self.load().unwrap_err().to_string();
        error.replace(&self.dir.path().display().to_string(), "HOME")
    }
}

/// The key that serves model calls; otherwise the account that is named, or `offline`.
fn key_of(config: &HostConfig) -> String {
    match (&config.account, &config.environment) {
        (None, Some(environment)) => environment.key.expose_secret().to_owned(),
        (Some(name), Some(environment)) if *name == AccountName::environment() => {
            environment.key.expose_secret().to_owned()
        }
        (name, _) => name.as_ref().map_or("offline", AccountName::as_str).to_owned(),
    }
}

#[test]
fn nothing_at_all_is_a_valid_configuration_and_means_offline() {
    let dir = tempfile::tempdir().unwrap();
    let config = HostConfig::load(&Home::new(dir.path()).unwrap(), &|_| None).unwrap();
    assert_eq!((config.max_sessions, config.log.as_str(), key_of(&config).as_str()), (8, "info", "offline"));
}

#[test]
fn the_environment_wins_over_dotenv_and_dotenv_over_the_file() {
    let toml = "[openai]\napi_key = \"file\"\n";
    assert_eq!(key_of(&Case::new(toml, "", &[]).load().unwrap()), "file");
    assert_eq!(key_of(&Case::new(toml, "OPENAI_API_KEY=dotenv", &[]).load().unwrap()), "dotenv");
    let all = Case::new(toml, "OPENAI_API_KEY=dotenv", &[("OPENAI_API_KEY", "env")]);
    assert_eq!(key_of(&all.load().unwrap()), "env");
    let empty = Case::new(toml, "", &[("OPENAI_API_KEY", "")]);
    assert_eq!(key_of(&empty.load().unwrap()), "file");
}

#[test]
fn an_account_that_is_chosen_is_kept_although_there_is_a_key() {
    let case = Case::new("account = \"offline\"", "OPENAI_API_KEY=k", &[]);
    assert_eq!(key_of(&case.load().unwrap()), "offline");
    for word in ["openai", "environment"] {
        let case = Case::new(&format!("account = \"{word}\""), "OPENAI_API_KEY=k", &[]);
        assert_eq!(key_of(&case.load().unwrap()), "k", "{word}");
    }
    // Without a key it is an account of the vault, or of nobody: the daemon knows.
    for word in ["openai", "work"] {
        assert_eq!(key_of(&Case::new(&format!("account = \"{word}\""), "", &[]).load().unwrap()), word);
    }
    insta::assert_snapshot!(Case::new("account = \"environment\"", "", &[]).error(), @r#"HOME/cofferdam.toml: `account`: the account is `environment`, but there is no key; set OPENAI_API_KEY in the environment or `.env`, or name another account"#);
    insta::assert_snapshot!(Case::new("account = \"Off line\"", "", &[]).error(), @r#"HOME/cofferdam.toml: `account`: 'Off line' is not an account's name: use 1 to 32 lower-case letters, digits and '-', starting with a letter or digit; `cofferdam account list` shows them"#);
}

#[test]
fn errors_of_the_file_have_line_key_and_nearest_name() {
    insta::assert_snapshot!(Case::new("max_sessions = 2\nmax_sesions = 3\n", "", &[]).error(), @r#"HOME/cofferdam.toml:2:1: `max_sesions`: there is no such key; did you mean `max_sessions`?"#);
    insta::assert_snapshot!(Case::new("[openai]\nbaseurl = \"x\"\n", "", &[]).error(), @r#"HOME/cofferdam.toml:2:1: `openai.baseurl`: there is no such key; did you mean `base_url`?"#);
    insta::assert_snapshot!(Case::new("max_sessions = \"x\"\n", "", &[]).error(), @r#"HOME/cofferdam.toml:1:16: `max_sessions`: invalid type: string "x", expected a whole number from 1 to 512"#);
    insta::assert_snapshot!(Case::new("max_sessions = \n", "", &[]).error(), @r#"HOME/cofferdam.toml:1:16: string values must be quoted, expected literal string"#);
    insta::assert_snapshot!(Case::new("max_sessions = 0\n", "", &[]).error(), @r#"HOME/cofferdam.toml:1:16: `max_sessions`: invalid value: integer `0`, expected a whole number from 1 to 512"#);
    insta::assert_snapshot!(Case::new("", "", &[("COFFERDAM_MAX_SESSIONS", "513")]).error(), @r#"the environment: `COFFERDAM_MAX_SESSIONS`: "513" is not a number from 1 to 512"#);
}

#[test]
fn wrong_addresses_are_refused() {
    insta::assert_snapshot!(Case::new("", "OPENAI_API_KEY=k\nOPENAI_BASE_URL=ftp://x", &[]).error(), @r#"HOME/.env: `OPENAI_BASE_URL`: it is not an http or https address; such as https://api.openai.com/v1"#);
    insta::assert_snapshot!(Case::new("", "OPENAI_API_KEY=k\nOPENAI_BASE_URL=https://u:p@x/v1", &[]).error(), @r#"HOME/.env: `OPENAI_BASE_URL`: it has a user, a password or a query, which have no place in it"#);
    insta::assert_snapshot!(Case::new("docker_host = \"/var/run/docker.sock\"", "", &[]).error(), @r#"HOME/cofferdam.toml: `docker_host`: "/var/run/docker.sock" is not an engine's address; such as unix:///var/run/docker.sock"#);
    insta::assert_snapshot!(Case::new("log = \"a=b=c\"", "", &[]).error(), @r#"HOME/cofferdam.toml: `log`: it is not a log filter: error parsing level filter: expected one of "off", "error", "warn", "info", "debug", "trace", or a number 0-5; such as `info` or `cofferdam=debug`"#);
}

#[test]
fn certificates_are_read_from_where_the_setting_says_and_a_bad_place_is_blamed() {
    let case = Case::new("ca_file = \"ca.pem\"", "", &[]);
    insta::assert_snapshot!(case.error(), @r#"HOME/cofferdam.toml: `ca_file`: HOME/ca.pem cannot be read: No such file or directory (os error 2); name a file of certificates in PEM form"#);
    std::fs::write(case.dir.path().join("ca.pem"), "x").unwrap();
    let ca = case.load().unwrap().ca.unwrap();
    assert_eq!((ca.path, ca.pem), (case.dir.path().join("ca.pem"), b"x".to_vec()));
    let case = Case::new("ca_file = \"ca.pem\"", "", &[("COFFERDAM_CA_FILE", "/dev/zero")]);
    insta::assert_snapshot!(case.error(), @r#"the environment: `COFFERDAM_CA_FILE`: /dev/zero is no file of at most 4 MiB; name a file of certificates in PEM form"#);
    insta::assert_snapshot!(Case::new("cafile = \"x\"", "", &[]).error(), @r#"HOME/cofferdam.toml:1:1: `cafile`: there is no such key; did you mean `ca_file`?"#);
}

#[test]
fn the_place_of_the_vaults_key_is_one_of_three_words() {
    let wanted = |toml: &str, env: &[(&'static str, &'static str)]| {
        Case::new(toml, "", env).load().unwrap().vault_key.wanted.map(KeyPlace::as_str)
    };
    assert_eq!((wanted("", &[]), wanted("vault_key = \"auto\"", &[])), (None, None));
    assert_eq!(wanted("vault_key = \"keyring\"", &[]), Some("keyring"));
    assert_eq!(wanted("vault_key = \"keyring\"", &[("COFFERDAM_VAULT_KEY", "file")]), Some("file"));
    insta::assert_snapshot!(Case::new("vault_key = \"key-ring\"", "", &[]).error(), @r#"HOME/cofferdam.toml: `vault_key`: there is no such value: "key-ring"; did you mean `keyring`?"#);
    insta::assert_snapshot!(Case::new("", "", &[("COFFERDAM_VAULT_KEY", "x")]).error(), @r#"the environment: `COFFERDAM_VAULT_KEY`: there is no such value: "x"; possible here: auto, keyring, file"#);
}

#[test]
fn the_session_bus_is_the_one_that_is_named_or_else_the_usual_one() {
    let bus = |env: &[(&'static str, &'static str)]| Case::new("", "", env).load().unwrap().vault_key.bus;
    let named = ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/a;unix:path=/b");
    assert_eq!(bus(&[]), None);
    assert_eq!(bus(&[("XDG_RUNTIME_DIR", "/run/user/7")]).unwrap(), "unix:path=/run/user/7/bus");
    assert_eq!(bus(&[("XDG_RUNTIME_DIR", "/run/user/7"), named]).unwrap(), "unix:path=/a");
}

#[test]
fn a_key_is_never_printed() {
    let secret = "sk-verysecret";
    let case = Case::new("", &format!("OPENAI_API_KEY={secret}"), &[]);
    let config = case.load().unwrap();
    assert_eq!(key_of(&config), secret);
    assert!(!format!("{config:?}").contains(secret));
    let broken = [
        Case::new(&format!("[openai]\napi_key = {secret}\n"), "", &[]),
        Case::new(&format!("[openai]\napi_key = [\"{secret}\"]\n"), "", &[]),
        Case::new("[openai]\napi_key = 123456\n", "", &[]),
        Case::new("", &format!("OPENAI_API_KEY='{secret}\n"), &[]),
        Case::new("", &format!("{secret} {secret}\n"), &[]),
        Case::new("", &format!("OPENAI_API_KEY=\"{secret} é\"\n"), &[]),
    ];
    for case in broken {
        let error = case.load().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("verysecret"), "{error:?}");
        assert!(!error.to_string().contains("123456"), "{error}");
    }
}

#[test]
fn values_of_the_host_are_never_printed_and_their_names_are_checked() {
    let secret = "verysecret";
    for toml in [
        format!("[values]\nA = {secret}\n"),
        format!("[values]\nA = [\"{secret}\"]\n"),
        format!("[values]\nA = {{ b = \"{secret}\" }}\n"),
        format!("[values]\n\"A B\" = \"{secret}\"\n"),
    ] {
        let error = Case::new(&toml, "", &[]).load().unwrap_err();
        assert!(!format!("{error} {error:?}").contains(secret), "{error:?}");
    }
    insta::assert_snapshot!(Case::new("[values]\n\"1A\" = \"x\"\n", "", &[]).error(), @r#"HOME/cofferdam.toml: `values`: "1A" is not a value's name: letters, digits and `_`, not starting with a digit"#);
    insta::assert_snapshot!(Case::new("[values]\nA = 1\n", "", &[]).error(), @r#"HOME/cofferdam.toml:2:5: `values.A`: it is not a text in quotes"#);
}

#[test]
fn values_that_everybody_can_read_are_warned_about() {
    use std::os::unix::fs::PermissionsExt;
    let case = Case::new("[values]\nA = \"x\"\n", "COFFERDAM_VALUE_B=y\n", &[]);
    let mode = |mode| {
        for file in [".env", "cofferdam.toml"] {
            std::fs::set_permissions(case.dir.path().join(file), std::fs::Permissions::from_mode(mode)).unwrap();
        }
        case.load().unwrap().warnings
    };
    let warnings = mode(0o644);
    assert_eq!(warnings.len(), 2);
    assert!(warnings.iter().all(|warning| warning.contains("values") && warning.contains("chmod 600")));
    assert!(mode(0o600).is_empty());
}

#[test]
fn a_key_that_everybody_can_read_is_warned_about() {
    use std::os::unix::fs::PermissionsExt;
    let case = Case::new("", "OPENAI_API_KEY=k", &[]);
    let mode = |mode| {
        std::fs::set_permissions(case.dir.path().join(".env"), std::fs::Permissions::from_mode(mode)).unwrap();
        case.load().unwrap().warnings
    };
    assert!(mode(0o644)[0].contains("chmod 600"));
    assert!(mode(0o600).is_empty());
}

#[test]
fn a_key_in_plain_text_over_the_network_is_warned_about_and_loopback_is_not() {
    let warnings = |url| {
        let case = Case::new("", "", &[("OPENAI_API_KEY", "k"), ("OPENAI_BASE_URL", url)]);
        case.load().unwrap().warnings
    };
    assert!(warnings("http://example.org/v1")[0].contains("encryption"));
    assert!(warnings("http://127.0.0.1:9/v1/").is_empty());
    assert!(warnings("http://[::1]:9/v1").is_empty());
}
