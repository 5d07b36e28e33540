//! Sealing over the life of a key file.

use std::path::Path;

use super::*;

fn vault() -> (tempfile::TempDir, Vault) {
    let dir = tempfile::tempdir().unwrap();
    let vault = at(dir.path());
    (dir, vault)
}

fn at(dir: &Path) -> Vault {
    Vault::new(&Home::new(dir).unwrap(), "install", &VaultKey::default())
}

fn name(text: &str) -> AccountName {
    text.parse().unwrap()
}

fn key(text: &str) -> Secret {
    Secret::Key(text.into())
}

fn opened(vault: &Vault, account: &str, sealed: &[u8]) -> String {
    match vault.open(&name(account), sealed).unwrap() {
        Secret::Key(key) => key.expose_secret().to_owned(),
        Secret::Tokens(_) => panic!("a login"),
    }
}

#[test]
fn the_first_secret_makes_the_key_and_later_ones_use_it() {
    let (dir, vault) = vault();
    let (a, b) = (vault.seal(&name("a"), &key("one")).unwrap(), vault.seal(&name("b"), &key("two")).unwrap());
    assert_eq!(seal::key_of(&a), seal::key_of(&b));
    let later = at(dir.path());
    assert_eq!((opened(&later, "a", &a), opened(&later, "b", &b)), ("one".to_owned(), "two".to_owned()));
    assert!(matches!(later.open(&name("b"), &a), Err(VaultError::Sealed(OpenError::Changed))), "another's");
}

#[test]
fn between_any_two_steps_of_a_rotation_everything_opens() {
    let (dir, vault) = vault();
    let before = vault.seal(&name("a"), &key("one")).unwrap();
    let old = seal::key_of(&before).unwrap();
    let new = vault.begin_rotation().unwrap();
    assert!(old != new && vault.is_rotating().unwrap());
    // As a daemon finds it that starts after a crash here.
    let vault = at(dir.path());
    assert_eq!(opened(&vault, "a", &before), "one");
    let meanwhile = vault.seal(&name("b"), &key("two")).unwrap();
    assert_eq!(seal::key_of(&meanwhile), Ok(new));
    let renewal = vault.renewal().unwrap();
    assert_eq!(renewal.of(Owner::account(&name("b")), &meanwhile).unwrap(), None);
    let after = renewal.of(Owner::account(&name("a")), &before).unwrap().expect("sealed again");
    assert_eq!((seal::key_of(&after), opened(&vault, "a", &after)), (Ok(new), "one".to_owned()));
    vault.finish_rotation([&after[..], &meanwhile]).unwrap();
    assert!(!vault.is_rotating().unwrap());
    assert_eq!((opened(&vault, "a", &after), opened(&vault, "b", &meanwhile)), ("one".into(), "two".into()));
    assert!(
        matches!(vault.open(&name("a"), &before), Err(VaultError::Sealed(OpenError::OtherKey(key))) if key == old)
    );
}

#[test]
fn a_key_that_something_is_still_sealed_with_is_kept() {
    let (_dir, vault) = vault();
    let old = vault.seal(&name("a"), &key("one")).unwrap();
    vault.begin_rotation().unwrap();
    vault.finish_rotation([&old[..]]).unwrap();
    assert_eq!(opened(&vault, "a", &old), "one");
    vault.begin_rotation().unwrap();
    vault.finish_rotation([&old[..]]).unwrap();
    assert_eq!(opened(&vault, "a", &old), "one", "the one between them is gone, the needed one is not");
    vault.finish_rotation([]).unwrap();
    assert!(vault.open(&name("a"), &old).is_err());
}

#[test]
fn without_its_key_nothing_opens_and_the_error_says_what_to_do() {
    let (dir, vault) = vault();
    let sealed = vault.seal(&name("a"), &key("one")).unwrap();
    let path = dir.path().join("vault.key");
    let aside = dir.path().join("aside");
    std::fs::rename(&path, &aside).unwrap();
    let error = vault.open(&name("a"), &sealed).unwrap_err();
    assert!(matches!(error, VaultError::NoKey(_)) && error.hint().contains("put"), "{error:?}");
    vault.seal(&name("b"), &key("two")).unwrap();
    assert!(matches!(vault.open(&name("a"), &sealed), Err(VaultError::Sealed(OpenError::OtherKey(_)))));
    std::fs::rename(&aside, &path).unwrap();
    assert_eq!(opened(&vault, "a", &sealed), "one");
}
