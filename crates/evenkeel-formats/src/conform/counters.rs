//! The counters of `/proc/schedstat` beside recorded runs, and how much they grew.
//!
//! `WORKLOAD.schedstat.json.gz` holds the text of the file `before` the workload, at its `release` if there is one, and at
//! its `end`. Of the text (versions 15 to 17, spec 1 §15.2) this reads the balancing passes by level and idle type, the pushes
//! of running tasks, and the wake-ups, each summed over all CPUs. Example, version 16: in `domain0 03 27 23 ...` the level that comes
//! first was balanced 27 times by busy CPUs; the eighth counter behind that begins those of idle ones.
use super::traces::TracesError;
use flate2::read::GzDecoder;
use serde::Deserialize;
use std::io::Read as _;
use std::path::Path;

/// The most that is read of a file, unpacked, in bytes.
const TEXT_MAX: u64 = 64 << 20;

/// What a level counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LevelCounters {
    /// Passes of busy, of idle and of newly idle CPUs.
    pub passes: [u64; 3],
    /// Pushes of a running task that were asked for.
    pub pushes: u64,
}

/// Counters summed over all CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// By level, the lowest first.
    pub levels: Vec<LevelCounters>,
    /// Wake-ups.
    pub wakeups: u64,
    /// Those of them that left the task on the CPU that woke it.
    pub local_wakeups: u64,
}

/// Reads the text of `/proc/schedstat`; the message says what is wrong.
pub fn parse(text: &str) -> Result<Counters, String> {
    let mut counters = Counters::default();
    let mut version = 0;
    let mut level = 0;
    for (number, line) in text.lines().enumerate() {
        let wrong = |what: &str| format!("line {}: `{line}`: {what}", number + 1);
        let mut words = line.split_ascii_whitespace();
        let Some(head) = words.next() else { continue };
        let values = |skip: usize| {
            let words = line.split_ascii_whitespace().skip(skip);
            words.map(str::parse).collect::<Result<Vec<u64>, _>>().map_err(|_| wrong("expected numbers"))
        };
        if head == "version" {
            version = *values(1)?.first().ok_or_else(|| wrong("expected a version"))?;
            if !(15..=17).contains(&version) {
                return Err(wrong("expected version 15, 16 or 17"));
            }
        } else if head.starts_with("cpu") {
            let values = values(1)?;
            let [_, _, _, _, wakeups, local, ..] = values[..] else {
                return Err(wrong("expected nine counters"));
            };
            counters.wakeups += wakeups;
            counters.local_wakeups += local;
            level = 0;
        } else if head.starts_with("domain") {
            let (skip, each) = if version >= 17 { (3, 11) } else { (2, 8) };
            let values = values(skip)?;
            if values.len() <= 3 * each {
                return Err(wrong("expected more counters"));
            }
            let order = if version >= 16 { [0, 1, 2] } else { [1, 0, 2] };
            if counters.levels.len() <= level {
                counters.levels.push(LevelCounters::default());
            }
            let sums = &mut counters.levels[level];
            for (sum, place) in sums.passes.iter_mut().zip(order) {
                *sum += values[place * each];
            }
            sums.pushes += values[3 * each];
            level += 1;
        }
    }
    if version == 0 { Err("there is no line `version`".to_owned()) } else { Ok(counters) }
}

impl Counters {
    /// How much they grew since `before`; kernels count in 32 bits per CPU, which no recorded run overflows.
    pub fn since(&self, before: &Self) -> Self {
        let level = |(index, now): (usize, &LevelCounters)| {
            let then = before.levels.get(index).copied().unwrap_or_default();
            let passes = core::array::from_fn(|kind| now.passes[kind].saturating_sub(then.passes[kind]));
            LevelCounters { passes, pushes: now.pushes.saturating_sub(then.pushes) }
        };
        Self {
            levels: self.levels.iter().enumerate().map(level).collect(),
            wakeups: self.wakeups.saturating_sub(before.wakeups),
            local_wakeups: self.local_wakeups.saturating_sub(before.local_wakeups),
        }
    }
}

#[derive(Deserialize)]
struct Texts {
    before: String,
    release: Option<String>,
    end: String,
}

/// How much the counters grew from the beginning of a recorded release, or of the run, to its end; none if there is no
/// such file.
pub fn read(path: &Path) -> Result<Option<Counters>, TracesError> {
    if !path.exists() {
        return Ok(None);
    }
    let failed = |source| TracesError::Read { path: path.to_path_buf(), source };
    let bytes = std::fs::read(path).map_err(failed)?;
    let mut text = String::new();
    GzDecoder::new(bytes.as_slice()).take(TEXT_MAX).read_to_string(&mut text).map_err(failed)?;
    let texts: Texts = serde_json::from_str(&text).map_err(|error| TracesError::Meta {
        path: path.to_path_buf(),
        line: error.line(),
        column: error.column(),
        message: error.to_string().split(" at line ").next().unwrap_or_default().to_owned(),
    })?;
    let counters =
        |text: &str| parse(text).map_err(|what| TracesError::Counters { path: path.to_path_buf(), what });
    let before = texts.release.as_deref().filter(|text| !text.is_empty()).unwrap_or(&texts.before);
    Ok(Some(counters(&texts.end)?.since(&counters(before)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of a recorded v6.12.117, one CPU of which is shown, and the same figures as version 15 and 17 would print them.
    #[test]
    fn the_three_versions_read_alike() {
        let cpu = "cpu0 0 0 361 7 19 11 2913731806 7072464741 992\n";
        let v16 =
            "domain0 03 27 23 2 2966 2 0 0 23 15 15 0 0 0 0 0 15 4 0 0 0 0 0 0 0 1 0 1 0 0 0 0 0 0 1 1 0\n";
        let v15 =
            "domain0 03 15 15 0 0 0 0 0 15 27 23 2 2966 2 0 0 23 4 0 0 0 0 0 0 0 1 0 1 0 0 0 0 0 0 1 1 0\n";
        let v17 = "domain0 SMT 03 27 23 2 2966 0 0 0 2 0 0 23 15 15 0 0 0 0 0 0 0 0 15 4 0 0 0 0 0 0 0 0 0 0 1 0 1 0 0 0 0 0 0 1 1 0\n";
        let expected = Counters {
            levels: vec![LevelCounters { passes: [27, 15, 4], pushes: 1 }],
            wakeups: 19,
            local_wakeups: 11,
        };
        for (version, domain) in [(15, v15), (16, v16), (17, v17)] {
            let text = format!("version {version}\ntimestamp 4294894088\n{cpu}{domain}");
            assert_eq!(parse(&text), Ok(expected.clone()), "version {version}");
        }
    }

    #[test]
    fn growth_is_the_difference_and_levels_add_up_over_cpus() {
        let text = |passes: u32| {
            format!(
                "version 16\ncpu0 0 0 1 0 {passes} 0 0 0 0\ndomain0 03 {passes}{}\ncpu1 0 0 0 0 1 1 0 0 0\ndomain0 03 2{}\n",
                " 0".repeat(35),
                " 0".repeat(35)
            )
        };
        let (before, end) = (parse(&text(3)).unwrap(), parse(&text(10)).unwrap());
        assert_eq!(end.levels[0].passes[0], 12);
        assert_eq!(end.since(&before).levels[0].passes, [7, 0, 0]);
        assert_eq!(end.since(&before).wakeups, 7);
    }

    #[test]
    fn faults_are_named_with_their_line() {
        assert_eq!(parse("version 14\n"), Err("line 1: `version 14`: expected version 15, 16 or 17".into()));
        assert_eq!(parse("version 16\ncpu0 0 x\n"), Err("line 2: `cpu0 0 x`: expected numbers".into()));
        assert_eq!(
            parse("version 16\ndomain0 03 1 2\n"),
            Err("line 2: `domain0 03 1 2`: expected more counters".into())
        );
        assert_eq!(parse("cpu0 0 0 1 0 2 0 0 0 0\n"), Err("there is no line `version`".into()));
    }
}
