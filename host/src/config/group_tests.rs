use super::*;

fn bad(text: &str) -> String {
    GroupConfig::parse(text, Path::new("container.json")).unwrap_err().to_string()
}

#[test]
fn every_key_has_a_default() {
    let config = GroupConfig::parse("{}", Path::new("x")).unwrap();
    assert_eq!(config, GroupConfig::default());
    assert_eq!((config.limits.memory_mb, config.timeouts.idle_secs), (2048, 900));
    assert_eq!((config.compaction.threshold_tokens, config.compaction.timeout_secs), (40_000, 120));
    assert_eq!((config.during_turn, config.time_zone, config.mcp_servers.len()), (DuringTurn::Queue, None, 0));
}

#[test]
fn a_full_file_is_read() {
    let text = r#"{"$schema":"../x.json","provider":"mock","model":"gpt-6.1-sol","effort":"xhigh","image":"me/mine:1",
        "limits":{"memory_mb":64,"cpus":0.5,"pids":64,"tmp_mb":1},"timeouts":{"idle_secs":1,"silence_secs":2},
        "environment":{"LANG":"C","_x1":""},"mcpServers":{"s":{"command":"x"}},
        "compaction":{"threshold_tokens":0,"timeout_secs":9},"during_turn":"steer","time_zone":"Europe/Berlin"}"#;
    let config = GroupConfig::parse(text, Path::new("x")).unwrap();
    assert_eq!(config.provider, ProviderKind::Mock);
    assert_eq!(config.effort.unwrap().as_str(), "xhigh");
    assert_eq!(config.limits.cpus, 0.5);
    assert_eq!((config.compaction.threshold_tokens, config.during_turn), (0, DuringTurn::Steer));
    assert_eq!(config.zone().iana_name(), Some("Europe/Berlin"));
    let back = serde_json::to_string(&config).unwrap();
    assert_eq!(GroupConfig::parse(&back, Path::new("x")).unwrap(), config);
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest() {
    insta::assert_snapshot!(bad("{\n  \"modle\": \"x\"\n}"), @r#"container.json:2:9: `modle`: there is no such key; did you mean `model`?"#);
}

#[test]
fn an_unknown_key_below_is_refused_with_its_path() {
    insta::assert_snapshot!(bad("{\n  \"limits\": {\n    \"memory\": 5\n  }\n}"), @r#"container.json:3:12: `limits.memory`: there is no such key; did you mean `memory_mb`?"#);
}

#[test]
fn a_key_like_no_other_lists_what_is_possible() {
    insta::assert_snapshot!(bad(r#"{"timeouts": {"zzz": 5}}"#), @r#"container.json:1:19: `timeouts.zzz`: there is no such key; possible here: idle_secs, silence_secs"#);
}

#[test]
fn an_unknown_provider_is_refused() {
    insta::assert_snapshot!(bad("{\n\"provider\": \"codx\"}"), @r#"container.json:2:18: `provider`: there is no such value: "codx"; did you mean `codex`?"#);
}

#[test]
fn an_unknown_effort_is_refused() {
    insta::assert_snapshot!(bad(r#"{"effort": "hihg"}"#), @r#"container.json:1:17: `effort`: there is no such value: "hihg"; did you mean `high`?"#);
}

#[test]
fn a_number_as_text_is_refused() {
    insta::assert_snapshot!(bad("{\n  \"limits\": {\n    \"memory_mb\": \"2g\"\n  }\n}"), @r#"container.json:3:21: `limits.memory_mb`: invalid type: string "2g", expected a whole number from 64 to 1048576"#);
}

#[test]
fn no_memory_is_refused() {
    insta::assert_snapshot!(bad(r#"{"limits": {"memory_mb": 0}}"#), @r#"container.json:1:26: `limits.memory_mb`: invalid value: integer `0`, expected a whole number from 64 to 1048576"#);
}

#[test]
fn a_negative_number_is_refused() {
    insta::assert_snapshot!(bad(r#"{"timeouts": {"idle_secs": -1}}"#), @r#"container.json:1:29: `timeouts.idle_secs`: invalid value: integer `-1`, expected a whole number from 1 to 604800"#);
}

#[test]
fn half_a_process_is_refused() {
    insta::assert_snapshot!(bad(r#"{"limits": {"pids": 99.5}}"#), @r#"container.json:1:24: `limits.pids`: invalid value: floating point `99.5`, expected a whole number from 64 to 32768"#);
}

#[test]
fn no_processor_is_refused() {
    insta::assert_snapshot!(bad(r#"{"limits": {"cpus": 0}}"#), @r#"container.json:1:21: `limits.cpus`: invalid value: integer `0`, expected a number of cores from 0.05 to 1024"#);
}

#[test]
fn a_duplicate_key_is_refused() {
    insta::assert_snapshot!(bad("{\n  \"model\": \"a\",\n  \"model\": \"b\"\n}"), @r#"container.json:3:9: duplicate field `model`; keep one of them"#);
}

#[test]
fn a_duplicate_variable_is_refused() {
    insta::assert_snapshot!(bad("{\"environment\": {\n  \"A\": \"a\",\n  \"A\": \"b\"\n}}"), @r#"container.json:3:5: `environment`: duplicate field `A`; keep one of them"#);
}

#[test]
fn a_reserved_variable_is_refused_with_the_reason() {
    insta::assert_snapshot!(bad("{\"environment\": {\n  \"OPENAI_API_KEY\": \"sk-1\"\n}}"), @r#"container.json:2:18: `environment`: OPENAI_API_KEY cannot be set here: credentials stay on the host; put them into its environment or `.env`"#);
    insta::assert_snapshot!(bad("{\"environment\": {\n  \"Path\": \"/x\"\n}}"), @r#"container.json:2:8: `environment`: Path cannot be set here: Cofferdam sets it so that the agent's own tools are found; a custom `image` can set another one"#);
}

#[test]
fn a_variable_with_a_bad_name_is_refused() {
    insta::assert_snapshot!(bad(r#"{"environment": {"A B": "a"}}"#), @r#"container.json:1:22: `environment`: "A B" is not a variable's name: letters, digits and `_`, not starting with a digit"#);
}

#[test]
fn a_variable_that_is_no_text_is_refused() {
    insta::assert_snapshot!(bad(r#"{"environment": {"PORT": 80}}"#), @r#"container.json:1:27: `environment.PORT`: invalid type: integer `80`, expected a string"#);
}

#[test]
fn what_follows_the_object_is_refused() {
    insta::assert_snapshot!(bad("{}\n{}"), @r#"container.json:2:1: trailing characters; the file is one object; nothing follows it"#);
}

#[test]
fn comments_and_last_commas_are_refused_with_advice() {
    insta::assert_snapshot!(bad("{\n  // mine\n  \"model\": \"a\"\n}"), @r#"container.json:2:3: key must be a string; JSON has no comments, and its keys have quotes"#);
    insta::assert_snapshot!(bad("{\n  \"model\": \"a\",\n}"), @r#"container.json:3:1: trailing comma; remove the last comma"#);
}

#[test]
fn half_a_file_is_refused() {
    insta::assert_snapshot!(bad("{\n  \"limits\": {\n"), @r#"container.json:3:1: `limits`: EOF while parsing an object; the end is missing: look for a brace or quote that is not closed"#);
    insta::assert_snapshot!(bad(" \n"), @r#"container.json: it is empty; `{}` is enough: every key has a default"#);
}

#[test]
fn another_value_than_an_object_is_refused() {
    insta::assert_snapshot!(bad("[1]"), @r#"container.json:1:1: invalid type: sequence, expected an object"#);
    insta::assert_snapshot!(bad(r#"{"limits": []}"#), @r#"container.json:1:11: `limits`: invalid type: sequence, expected an object"#);
}

#[test]
fn an_image_or_model_that_could_be_an_option_is_refused() {
    insta::assert_snapshot!(bad(r#"{"image": "--privileged"}"#), @r#"container.json:1:25: `image`: invalid value: string "--privileged", expected an image reference such as `name:tag`"#);
    insta::assert_snapshot!(bad(r#"{"model": ""}"#), @r#"container.json:1:13: `model`: invalid value: string "", expected a model's name: 1 to 128 letters, digits and `._:/@+-`"#);
}

#[test]
fn wrong_compaction_turns_and_zones_are_refused() {
    insta::assert_snapshot!(bad(r#"{"compaction": {"threshold": 1}}"#), @r#"container.json:1:27: `compaction.threshold`: there is no such key; did you mean `threshold_tokens`?"#);
    insta::assert_snapshot!(bad(r#"{"compaction": {"threshold_tokens": 10000001}}"#), @r#"container.json:1:44: `compaction.threshold_tokens`: invalid value: integer `10000001`, expected a whole number from 0 to 10000000"#);
    insta::assert_snapshot!(bad(r#"{"during_turn": "stear"}"#), @r#"container.json:1:23: `during_turn`: there is no such value: "stear"; did you mean `steer`?"#);
    insta::assert_snapshot!(bad(r#"{"time_zone": "Europe/Berln"}"#), @r#"container.json:1:29: `time_zone`: invalid value: string "Europe/Berln", expected a time zone such as `Europe/Berlin`"#);
}

#[test]
fn wrong_credentials_are_refused_and_a_copy_says_what_it_lacks() {
    use crate::config::credentials::CredentialMode;
    let sealed = GroupConfig::parse(r#"{"credentials": {"mode": "sealed"}}"#, Path::new("x")).unwrap();
    assert_eq!((sealed.credentials.mode, sealed), (CredentialMode::Sealed, GroupConfig::default()));
    insta::assert_snapshot!(bad(r#"{"credentials": {"mod": "copy"}}"#), @r#"container.json:1:22: `credentials.mod`: there is no such key; did you mean `mode`?"#);
    insta::assert_snapshot!(bad(r#"{"credentials": {"mode": "seald"}}"#), @r#"container.json:1:32: `credentials.mode`: there is no such value: "seald"; did you mean `sealed`?"#);
    insta::assert_snapshot!(bad(r#"{"credentials": "copy"}"#), @r#"container.json:1:22: `credentials`: invalid type: string "copy", expected an object"#);
    insta::assert_snapshot!(bad(r#"{"credentials": {"mode": "copy"}}"#), @r#"container.json: `credentials.mode`: `copy` needs a network, to talk to the vendor without the host, and the group's containers have none; use `sealed`, or leave the key out: the host adds the credential to each model call; `"network": "open"` gives them one"#);
}

#[test]
fn the_folder_that_all_groups_share_is_no_group() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::new(dir.path()).unwrap();
    std::fs::create_dir_all(home.shared()).unwrap();
    std::fs::write(home.shared().join("container.json"), "{}").unwrap();
    let error = GroupConfig::load(&home, &"global".parse().unwrap()).unwrap_err();
    assert!(!error.missing && error.problem.contains("share"), "{error}");
}

fn home_with(write: impl FnOnce(&Path)) -> (tempfile::TempDir, Home, Folder) {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::new(dir.path()).unwrap();
    let folder: Folder = "g".parse().unwrap();
    std::fs::create_dir_all(home.group(&folder)).unwrap();
    write(&home.container_json(&folder));
    (dir, home, folder)
}

fn load_error(write: impl FnOnce(&Path)) -> ConfigError {
    let (_dir, home, folder) = home_with(write);
    GroupConfig::load(&home, &folder).unwrap_err()
}

#[test]
fn a_file_is_loaded_with_its_hash_and_its_own_order() {
    let text = r#"{"timeouts":{},"provider":"mock"}"#;
    let (_dir, home, folder) = home_with(|path| std::fs::write(path, text).unwrap());
    let loaded = GroupConfig::load(&home, &folder).unwrap();
    assert_eq!(loaded.hash.len(), 64);
    assert_eq!(loaded.raw.to_string(), text);
}

#[test]
fn links_pipes_and_large_files_are_refused_without_waiting() {
    assert!(
        load_error(|path| std::os::unix::fs::symlink("/etc/passwd", path).unwrap()).problem.contains("symbolic")
    );
    assert!(load_error(|path| std::fs::create_dir(path).unwrap()).problem.contains("regular"));
    let fifo = |path: &Path| {
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    };
    assert!(load_error(fifo).problem.contains("regular"));
    let large = load_error(|path| std::fs::write(path, vec![b' '; MAX_BYTES as usize + 1]).unwrap());
    assert!(large.problem.contains("larger than 64 KiB"));
    assert!(load_error(|path| std::fs::write(path, b"{}\n\xff").unwrap()).problem.contains("line 2"));
}

#[test]
fn a_missing_file_and_a_missing_folder_are_told_apart() {
    let no_file = load_error(|_| ());
    assert!(no_file.missing && no_file.problem.contains("no such file"));
    let no_folder = load_error(|path| std::fs::remove_dir(path.parent().unwrap()).unwrap());
    assert!(no_folder.missing && no_folder.problem.contains("folder"));
}

/// `UPDATE_SCHEMA=1 cargo test -p cofferdam schema` writes the file anew.
#[test]
fn the_committed_schema_is_the_one_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/container.schema.json");
    let schema = GroupConfig::schema();
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, &schema).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), schema, "see the comment above this test");
}

#[test]
fn the_schema_names_the_providers_that_are_read() {
    let schema = serde_json::to_string(&schemars::schema_for!(Provider)).unwrap();
    for kind in [ProviderKind::Codex, ProviderKind::Mock] {
        let name = serde_json::to_string(&kind).unwrap();
        assert!(schema.contains(&name), "{name} is not in {schema}");
    }
}
