use super::super::progress::Silent;
use super::*;

/// A package with `names`, as npm would pack it.
fn pack(path: &Path, names: &[&str]) {
    let gz = flate2::write::GzEncoder::new(File::create(path).unwrap(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gz);
    for name in names {
        let mut header = tar::Header::new_gnu();
        header.set_size(name.len() as u64);
        header.set_mode(0o644);
        // Raw, because the library's setter refuses the hostile name that we need.
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        tar.append(&header, name.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap();
}

fn lock(tgz: &Path) -> Lock {
    let files = [("bin/codex".to_owned(), "package/vendor/codex".to_owned())];
    Lock {
        version: "1.2.3".into(),
        package: "@x/codex@1.2.3".into(),
        integrity: integrity(tgz).unwrap(),
        files: files.into(),
    }
}

struct Bench {
    dir: tempfile::TempDir,
    packages: Packages,
    source: PathBuf,
}

/// A cache whose `npm` copies `source.tgz` to where it is told to, and then runs `after`.
fn bench(after: &str) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source.tgz");
    pack(&source, &["package/vendor/codex", "package/../../escape", "package/other"]);
    let npm = dir.path().join("npm");
    let script = format!("cp {} \"$5\"/x.tgz\n{after}\n", source.display());
    fs::write(&npm, script).unwrap();
    let packages = Packages { dir: dir.path().join("cache"), npm: ("sh".into(), vec![npm.into()]) };
    Bench { dir, packages, source }
}

#[tokio::test]
async fn a_checked_package_is_unpacked_to_the_names_of_the_lock_only() {
    let bench = bench("");
    let lock = lock(&bench.source);
    let path = bench.packages.ensure(&lock, &Silent).await.unwrap();
    assert_eq!(fs::read_to_string(path.join("bin/codex")).unwrap(), "package/vendor/codex");
    assert_eq!(path.join("bin/codex").metadata().unwrap().permissions().mode() & 0o777, 0o755);
    let mut names: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["bin", "integrity"]);
    assert!(!bench.dir.path().join("escape").exists());
    assert!(bench.packages.complete(&lock));
}

#[tokio::test]
async fn a_second_run_does_not_fetch() {
    let bench = bench("");
    let lock = lock(&bench.source);
    bench.packages.ensure(&lock, &Silent).await.unwrap();
    fs::remove_file(bench.dir.path().join("npm")).unwrap();
    bench.packages.ensure(&lock, &Silent).await.unwrap();
}

#[tokio::test]
async fn a_tampered_package_is_refused_and_nothing_of_it_is_kept() {
    let bench = bench("printf x >> \"$5\"/x.tgz");
    let lock = lock(&bench.source);
    let error = bench.packages.ensure(&lock, &Silent).await.unwrap_err();
    assert!(matches!(error, ImageError::Integrity { .. }), "{error}");
    assert!(error.to_string().contains("not unpacked"), "{error}");
    assert!(!bench.packages.complete(&lock));
    assert_eq!(fs::read_dir(&bench.packages.dir).unwrap().count(), 0);
}

#[tokio::test]
async fn a_failing_fetch_says_what_npm_said() {
    let bench = bench("echo no route >&2; exit 7");
    let error = bench.packages.ensure(&lock(&bench.source), &Silent).await.unwrap_err();
    assert!(error.to_string().contains("no route"), "{error}");
}

#[tokio::test]
async fn without_npm_the_error_says_how_to_get_it() {
    let mut bench = bench("");
    bench.packages.npm.0 = bench.dir.path().join("absent").into();
    let error = bench.packages.ensure(&lock(&bench.source), &Silent).await.unwrap_err();
    assert!(error.to_string().contains("apt-get install npm"), "{error}");
}

#[tokio::test]
async fn an_interrupted_run_is_swept_and_a_half_package_is_fetched_again() {
    let bench = bench("");
    let lock = lock(&bench.source);
    let left = bench.packages.dir.join(".partial-old/tree/bin");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("codex"), "half").unwrap();
    fs::write(bench.packages.dir.join("half.tgz"), "half").unwrap();
    // A version directory without its mark, as a copy by hand would leave it.
    fs::create_dir_all(bench.packages.path(&lock).join("bin")).unwrap();
    assert!(!bench.packages.complete(&lock));
    let path = bench.packages.ensure(&lock, &Silent).await.unwrap();
    assert_eq!(fs::read_to_string(path.join("bin/codex")).unwrap(), "package/vendor/codex");
    assert!(!left.exists());
}

#[tokio::test]
async fn a_package_with_another_layout_is_named() {
    let bench = bench("");
    let mut lock = lock(&bench.source);
    lock.files.insert("bin/rg".into(), "package/rg".into());
    let error = bench.packages.ensure(&lock, &Silent).await.unwrap_err();
    assert!(error.to_string().contains("package/rg"), "{error}");
    assert!(!bench.packages.complete(&lock));
}

#[tokio::test]
async fn another_package_of_the_same_version_replaces_the_old_one() {
    let bench = bench("");
    let old = lock(&bench.source);
    bench.packages.ensure(&old, &Silent).await.unwrap();
    pack(&bench.source, &["package/vendor/codex", "package/new"]);
    let new = lock(&bench.source);
    assert!(!bench.packages.complete(&new));
    bench.packages.ensure(&new, &Silent).await.unwrap();
    assert!(bench.packages.complete(&new) && !bench.packages.complete(&old));
}
