//! A tree of small text files: a directory, or a dump of one in a single file.
//!
//! The dump is what this prints, so that a machine fits into a mail:
//! ```text
//! cd / && find sys/devices/system/cpu sys/devices/system/node -type f |
//!     while read f; do echo "@@ /$f"; cat "$f"; done
//! ```
use super::MachineInputError;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::PathBuf;

/// The most that is read of one file of a directory, in bytes; sysfs files are a page.
const FILE_MAX: u64 = 1 << 20;

/// Where the files of a sysfs tree come from. Paths are relative to what `/sys` is on a running system.
#[derive(Clone, Debug)]
pub(super) enum Tree {
    /// A directory that holds `devices/system/cpu`.
    Directory(PathBuf),
    /// A dump; the key is the path below `/sys/`.
    Dump(BTreeMap<String, String>),
}

impl Tree {
    /// Reads a dump: lines `@@ PATH`, each followed by the content of the file.
    pub(super) fn from_dump(text: &str) -> Self {
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        let mut content: Option<&mut String> = None;
        for line in text.lines() {
            if let Some(path) = line.strip_prefix("@@ ") {
                let path = path.trim().trim_start_matches("./").trim_start_matches('/');
                // What lies outside /sys keeps a slash in front, which no path below /sys has.
                let key = path.strip_prefix("sys/").map_or_else(|| format!("/{path}"), String::from);
                content = Some(files.entry(key).or_default());
            } else if let Some(content) = &mut content {
                content.push_str(line);
                content.push('\n');
            }
        }
        Self::Dump(files)
    }

    /// What errors call the file at `path`.
    pub(super) fn name_of(&self, path: &str) -> String {
        match self {
            Self::Directory(root) => root.join(path).display().to_string(),
            Self::Dump(_) => format!("/sys/{path}"),
        }
    }

    /// The content of a file without the blanks around it; `None` if there is no such file.
    pub(super) fn read(&self, path: &str) -> Result<Option<String>, MachineInputError> {
        let root = match self {
            Self::Dump(files) => return Ok(files.get(path).map(|text| String::from(text.trim()))),
            Self::Directory(root) => root,
        };
        let full = root.join(path);
        let mut bytes = Vec::new();
        match File::open(&full).and_then(|file| file.take(FILE_MAX).read_to_end(&mut bytes)) {
            Ok(_) => Ok(Some(String::from(String::from_utf8_lossy(&bytes).trim()))),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(source) => Err(MachineInputError::Read { path: full, source }),
        }
    }

    /// The content of a file that may be missing or refuse to be read (sysfs answers some reads with an error).
    pub(super) fn peek(&self, path: &str) -> Option<String> {
        self.read(path).ok().flatten()
    }

    /// The content of a file beside `sys`, such as one of `/proc`.
    pub(super) fn peek_beside(&self, path: &str) -> Option<String> {
        match self {
            Self::Dump(files) => files.get(&format!("/{path}")).map(|text| String::from(text.trim())),
            Self::Directory(root) => Self::Directory(root.parent()?.to_path_buf()).peek(path),
        }
    }

    /// The numbers `N` of the entries `PREFIXN` of a directory, ascending.
    pub(super) fn numbered(&self, directory: &str, prefix: &str) -> Vec<u32> {
        let mut numbers = BTreeSet::new();
        let mut add = |name: &str| {
            if let Some(digits) = name.strip_prefix(prefix)
                && let Ok(number) = digits.parse()
            {
                numbers.insert(number);
            }
        };
        match self {
            Self::Directory(root) => {
                for entry in std::fs::read_dir(root.join(directory)).into_iter().flatten().flatten() {
                    add(&entry.file_name().to_string_lossy());
                }
            }
            Self::Dump(files) => {
                let start = format!("{directory}/");
                for path in files.range(start.clone()..).map(|(path, _)| path) {
                    let Some(rest) = path.strip_prefix(&start) else { break };
                    add(rest.split('/').next().unwrap_or(rest));
                }
            }
        }
        numbers.into_iter().collect()
    }
}
