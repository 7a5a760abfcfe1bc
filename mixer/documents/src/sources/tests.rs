//! Which files are read, in which order, and within which bounds.

use super::*;

fn write(root: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

fn names(sources: &Sources) -> Vec<&str> {
    sources
        .files
        .iter()
        .map(|(_, name, _)| name.as_str())
        .collect()
}

#[test]
fn files_come_by_relative_path_bytewise_over_all_directories() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(
        one.path(),
        &[
            ("b.yaml", "1"),
            ("a/z.yml", "2"),
            ("README.md", "no"),
            (".hidden.yaml", "no"),
            (".git/x.yaml", "no"),
        ],
    );
    write(
        two.path(),
        &[("a.yaml", "3"), ("B.yaml", "4"), ("b.yaml", "5")],
    );
    let sources = Sources::read(&[one.path().to_owned(), two.path().to_owned()]).unwrap();
    assert_eq!(
        names(&sources),
        ["B.yaml", "a.yaml", "a/z.yml", "b.yaml", "b.yaml"]
    );
    assert_eq!(
        sources.files[3].2, "1",
        "equal paths keep the order of their directories"
    );
    let file = Sources::read(&[two.path().join("B.yaml")]).unwrap();
    assert_eq!(names(&file), ["B.yaml"]);
}

#[test]
fn what_cannot_be_read_is_said() {
    let root = tempfile::tempdir().unwrap();
    let read = |path: &Path| {
        Sources::read(&[path.to_owned()])
            .unwrap_err()
            .lines()
            .join("\n")
    };
    assert!(read(root.path()).contains("no documents in "));
    assert!(read(&root.path().join("absent")).contains("cannot read"));
    write(root.path(), &[("sub/notes.txt", "")]);
    assert!(read(root.path()).contains("no documents in "));
    std::fs::write(root.path().join("bytes.yaml"), b"a: \xff").unwrap();
    assert!(read(root.path()).contains("byte 3 is not UTF-8"));
    std::fs::write(root.path().join("bytes.yaml"), vec![b'#'; 1 << 20]).unwrap();
    assert!(Sources::read(&[root.path().to_owned()]).is_ok());
    std::fs::write(root.path().join("bytes.yaml"), vec![b'#'; (1 << 20) + 1]).unwrap();
    assert!(read(root.path()).contains("larger than 1 MiB"));
    assert!(Sources::read(&[]).is_err());
}

#[cfg(unix)]
#[test]
fn a_config_map_is_read_once_and_a_loop_ends() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), &[("..2026/p.yaml", "x")]);
    std::os::unix::fs::symlink("..2026", root.path().join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/p.yaml", root.path().join("p.yaml")).unwrap();
    std::os::unix::fs::symlink(root.path(), root.path().join("loop")).unwrap();
    assert_eq!(
        names(&Sources::read(&[root.path().to_owned()]).unwrap()),
        ["p.yaml"]
    );
    std::os::unix::fs::symlink("nowhere", root.path().join("q.yaml")).unwrap();
    assert!(
        Sources::read(&[root.path().to_owned()]).is_err(),
        "a document that cannot be read is not skipped"
    );
}

#[test]
fn columns_count_characters() {
    let sources = Sources::from_texts([("f.yaml", "\u{feff}a: é x\nb: 1\n")]);
    let place = |start| {
        sources.place(Span {
            file: FileId(0),
            start,
            end: start,
        })
    };
    assert_eq!(place(3), "f.yaml:1:1");
    assert_eq!(place(9), "f.yaml:1:6");
    assert_eq!(place(11), "f.yaml:2:1");
    assert_eq!(place(9999), "f.yaml:3:1");
}
