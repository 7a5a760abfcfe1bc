//! Changes on a real file system: renames, symlink swaps, removals.

use std::fs;

use super::*;

struct Watched {
    root: tempfile::TempDir,
    watcher: Watcher,
    _tasks: Tasks,
}

/// A directory with `files`, watched.
fn watch(files: &[(&str, &str)], prepare: impl FnOnce(&Path)) -> Watched {
    let root = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::create_dir_all(root.path().join(name).parent().unwrap()).unwrap();
        fs::write(root.path().join(name), text).unwrap();
    }
    prepare(root.path());
    let paths = vec![root.path().to_owned()];
    let now = Sources::read(&paths).unwrap();
    let tasks = Tasks::new();
    let watcher = Watcher::start(paths, now, Clock::system(), &tasks);
    Watched {
        root,
        watcher,
        _tasks: tasks,
    }
}

impl Watched {
    /// Waits for the next state, though not for ever: a test that hangs says nothing.
    async fn changed(&mut self) {
        let next = self.watcher.changes.changed();
        let next = Clock::system().within(Duration::from_secs(60), next).await;
        next.expect("a change was not noticed").unwrap();
    }

    async fn becomes(&mut self, expected: &[(&str, &str)]) {
        loop {
            self.changed().await;
            if let Some(Ok(sources)) = &*self.watcher.changes.borrow() {
                let texts: Vec<(&str, &str)> = sources
                    .files
                    .iter()
                    .map(|(_, name, text)| (name.as_str(), text.as_str()))
                    .collect();
                if texts == expected {
                    return;
                }
            }
        }
    }

    async fn fails(&mut self) -> Vec<String> {
        loop {
            self.changed().await;
            if let Some(Err(problems)) = &*self.watcher.changes.borrow() {
                return problems.lines();
            }
        }
    }
}

#[tokio::test]
async fn files_that_are_written_added_renamed_over_and_removed_are_noticed() {
    let mut watched = watch(&[("a.yaml", "1"), ("sub/b.yaml", "1")], |_| {});
    let root = watched.root.path().to_owned();
    fs::write(root.join("sub/b.yaml"), "2").unwrap();
    watched
        .becomes(&[("a.yaml", "1"), ("sub/b.yaml", "2")])
        .await;
    fs::write(root.join("c.yaml"), "3").unwrap();
    watched
        .becomes(&[("a.yaml", "1"), ("c.yaml", "3"), ("sub/b.yaml", "2")])
        .await;
    fs::write(root.join(".a.yaml.swp"), "4").unwrap();
    fs::rename(root.join(".a.yaml.swp"), root.join("a.yaml")).unwrap();
    watched
        .becomes(&[("a.yaml", "4"), ("c.yaml", "3"), ("sub/b.yaml", "2")])
        .await;
    fs::remove_dir_all(root.join("sub")).unwrap();
    fs::remove_file(root.join("c.yaml")).unwrap();
    watched.becomes(&[("a.yaml", "4")]).await;
    fs::create_dir(root.join("new")).unwrap();
    fs::write(root.join("new/d.yaml"), "5").unwrap();
    watched
        .becomes(&[("a.yaml", "4"), ("new/d.yaml", "5")])
        .await;
}

#[cfg(unix)]
#[tokio::test]
async fn the_swap_of_a_config_map_is_noticed() {
    use std::os::unix::fs::symlink;
    let mut watched = watch(&[("..1/p.yaml", "1")], |root| {
        symlink("..1", root.join("..data")).unwrap();
        symlink("..data/p.yaml", root.join("p.yaml")).unwrap();
    });
    let root = watched.root.path().to_owned();
    fs::create_dir(root.join("..2")).unwrap();
    fs::write(root.join("..2/p.yaml"), "2").unwrap();
    symlink("..2", root.join("..data_tmp")).unwrap();
    fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    fs::remove_dir_all(root.join("..1")).unwrap();
    watched.becomes(&[("p.yaml", "2")]).await;
}

#[tokio::test]
async fn a_directory_that_is_emptied_or_removed_is_an_error_and_recovers() {
    let mut watched = watch(&[("a.yaml", "1")], |_| {});
    let root = watched.root.path().to_owned();
    fs::remove_file(root.join("a.yaml")).unwrap();
    assert!(watched.fails().await[0].contains("no documents in"));
    fs::write(root.join("a.yaml"), "1").unwrap();
    watched.becomes(&[("a.yaml", "1")]).await;
    fs::remove_dir_all(&root).unwrap();
    assert!(watched.fails().await[0].contains("cannot read"));
    fs::create_dir(&root).unwrap();
    fs::write(root.join("a.yaml"), "2").unwrap();
    watched.becomes(&[("a.yaml", "2")]).await;
}

#[tokio::test]
async fn what_changed_before_the_watch_began_is_noticed() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("a.yaml"), "1").unwrap();
    let paths = vec![root.path().to_owned()];
    let before = Sources::read(&paths).unwrap();
    fs::write(root.path().join("a.yaml"), "2").unwrap();
    let tasks = Tasks::new();
    let watcher = Watcher::start(paths, before, Clock::system(), &tasks);
    let mut watched = Watched {
        root,
        watcher,
        _tasks: tasks,
    };
    watched.becomes(&[("a.yaml", "2")]).await;
}

#[tokio::test]
async fn a_single_file_is_watched_too() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("a.yaml");
    fs::write(&file, "1").unwrap();
    let tasks = Tasks::new();
    let watcher = Watcher::start(
        vec![file.clone()],
        Sources::read(std::slice::from_ref(&file)).unwrap(),
        Clock::system(),
        &tasks,
    );
    let mut watched = Watched {
        root,
        watcher,
        _tasks: tasks,
    };
    fs::write(&file, "2").unwrap();
    watched.becomes(&[("a.yaml", "2")]).await;
}
