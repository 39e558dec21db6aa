//! Verdicts: which measures can be compared, and how near they have to be.
//!
//! Repeating a recording with a start shifted by some milliseconds gives a distribution, not a number. What such repetitions
//! showed to be stable is judged: **our median lies within the range of the recorded members, widened by a quarter of its
//! ends, context switches by a tenth**. Where one member was recorded its range is a point; migrations of one
//! member are then given the factor of 2 within which repetitions of `fork12` and `skew16` stayed. All else is shown beside ours as a distribution, each with
//! the reason why it is not judged, and with whether the recorded members fall into the range of our runs.
//!
//! | measure | judged in | widened by |
//! |---|---|---|
//! | context switches, those with threads of the kernel included | all but mixes of nice values and bursts | a tenth |
//! | idle share | all without a release, if it is a per cent or more | a quarter |
//! | spread of running times | mixes with bound tasks, periodic tasks | a quarter |
//! | migrations | spinners, of which none is bound | a quarter; one member: a factor of 2 |
//! | unevenness at the end | spinners of one nice value | one task |
//!
//! Known misses carry the name of their cause ([`Comparison::cause`]): what the model leaves out that would explain them.
//!
//! **What agreement does and does not show.** The costs of the recorded machine ([`evenkeel_sim::Turns`]) and the threads of
//! its kernel ([`super::background`]) were read off these recordings: how long code takes that shows in a trace (a wake-up, a
//! switch, a balancing pass, a release), how late timers are, how often threads run. Nothing was set by looking at a measure
//! below, but for one: the shortest turn, 40 us, lies between what the late timers of `duty` want (50) and what `pingpong` under v7.2 wants (20 or less). `skew16`, `fork12`
//! and `pinmix` hardly depend on any of it; they, and the published ensemble in the tests, recorded without probes of
//! decisions, are the independent evidence.
use super::measure::Measures;
use evenkeel_formats::conform::counters::Counters;
use evenkeel_formats::conform::workload::{Behaviour, WorkloadSpec};
use serde::Serialize;

/// What came of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Our median is near enough.
    Within,
    /// It is not.
    Outside,
    /// The measure is shown, not judged.
    Shown,
}

/// A measure of the recorded members and of our runs.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Which measure.
    pub measure: String,
    /// The recorded values.
    pub recorded: Vec<f64>,
    /// The median of ours.
    pub median: f64,
    /// The least of ours.
    pub least: f64,
    /// The greatest of ours.
    pub greatest: f64,
    /// What our median has to lie between, if it is judged.
    pub bounds: Option<(f64, f64)>,
    /// What came of it.
    pub verdict: Verdict,
    /// Whether a recorded value lies in the range of ours.
    pub covered: bool,
    /// Why it is not judged.
    pub reason: Option<&'static str>,
    /// What explains that our median is outside, where that is known.
    pub cause: Option<&'static str>,
}

/// The kind of a workload, as far as the rules go.
#[derive(Clone, Copy, Debug)]
struct Kind {
    /// Spinners only.
    spinners: bool,
    /// All of one nice value.
    one_nice: bool,
    bound: bool,
    released: bool,
    periodic: bool,
    pairs: bool,
    bursts: bool,
}

impl Kind {
    fn of(spec: &WorkloadSpec) -> Self {
        let any = |test: fn(&Behaviour) -> bool| spec.groups.iter().any(|group| test(&group.behaviour));
        Self {
            spinners: spec.groups.iter().all(|group| group.behaviour == Behaviour::Spin),
            one_nice: spec.groups.windows(2).all(|pair| pair[0].nice == pair[1].nice),
            bound: spec.groups.iter().any(|group| group.bound.is_some()),
            released: spec.release.is_some(),
            periodic: any(|behaviour| matches!(behaviour, Behaviour::Periodic { .. })),
            pairs: any(|behaviour| matches!(behaviour, Behaviour::Pairs { .. })),
            bursts: any(|behaviour| matches!(behaviour, Behaviour::Burst { .. })),
        }
    }
}

/// By how much a recorded range is widened.
#[derive(Clone, Copy, Debug)]
enum Widening {
    /// By this share of its ends.
    Share(f64),
    /// The same for several members, by a factor for a single one.
    ShareOrFactor(f64, f64),
    /// By an absolute value.
    Absolute(f64),
}

impl Widening {
    fn bounds(self, recorded: &[f64]) -> (f64, f64) {
        let low = recorded.iter().copied().fold(f64::INFINITY, f64::min);
        let high = recorded.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        match self {
            Self::Share(share) => (low * (1.0 - share), high * (1.0 + share)),
            Self::ShareOrFactor(_, factor) if recorded.len() == 1 => (low / factor, high * factor),
            Self::ShareOrFactor(share, _) => (low * (1.0 - share), high * (1.0 + share)),
            Self::Absolute(by) => (low - by, high + by),
        }
    }
}

/// How a measure is judged, or why it is not.
#[derive(Clone, Copy, Debug)]
enum Rule {
    /// Within the recorded range, widened.
    Judged(Widening),
    /// Not, for this reason.
    Shown(&'static str),
}

/// One measure: its name, its value, its rule, and what explains a miss.
struct Row {
    measure: &'static str,
    value: fn(&Measures) -> f64,
    rule: Rule,
    cause: Option<&'static str>,
}

/// A time in ms; the length of the window if it did not come.
fn ms(time: Option<u64>, measures: &Measures) -> f64 {
    time.unwrap_or(measures.length) as f64 / 1e6
}

/// Below this share, per cent, idle time is a handful of moments.
const FEW_IDLE: f64 = 1.0;

const WHO_ENDS_WHERE: &str = "depends on which tasks share a CPU, as do our own runs";
const REAPERS: &str =
    "half of the recorded ones are workers that clean up after processes, which are not modelled";
const RESOLUTION: &str = "depends on how soon the skew is resolved, which differs from member to member";
const FEW: &str = "members differ by a factor of 2 to 5 where hardly a CPU is idle";
const MEMBERS: &str = "differs from member to member: a distribution";
const LUCK: &str = "differs from member to member for tasks that sleep: a distribution";
const NOT_STABLE: &str = "no repetition showed it to be stable for this kind of workload";
const SLEEPERS_AT_END: &str = "who sleeps at that moment is chance";
const BY_THE_WAY: &str = "is part of the context switches";

/// Named causes of known misses.
const LATE_TURNS: &str =
    "turns near a timer of the recorded machine come later than modelled, so each run of a pair takes longer";
const SLEEPERS_RETURN: &str =
    "turns near a timer of the recorded machine come later than modelled, which keeps pairs apart longer";
const MEMBERS_OF_SKEWS: &str = "follow how evenly a skew is resolved: five published members differ by a third (v6.1: 360 to 471, v7.2: 1440 to 1980)";

fn rows(kind: Kind, recorded: &[Measures]) -> [Row; 9] {
    use Rule::{Judged, Shown};
    let quarter = Judged(Widening::Share(0.25));
    let free_spinners = kind.spinners && !kind.bound;
    let few_idle = recorded.iter().all(|measures| measures.idle < FEW_IDLE);
    let switches = match kind {
        Kind { bursts: true, .. } => Shown(REAPERS),
        Kind { one_nice: false, .. } => Shown(WHO_ENDS_WHERE),
        _ => Judged(Widening::Share(0.1)),
    };
    let idle = match kind {
        Kind { released: true, .. } => Shown(RESOLUTION),
        _ if few_idle => Shown(FEW),
        _ => quarter,
    };
    let migrations = if free_spinners { Judged(Widening::ShareOrFactor(0.25, 2.0)) } else { Shown(LUCK) };
    let spread = if kind.bound || kind.periodic { quarter } else { Shown(NOT_STABLE) };
    let unevenness = match kind {
        Kind { spinners: true, one_nice: true, .. } => Judged(Widening::Absolute(1.0)),
        Kind { spinners: true, .. } => Shown(WHO_ENDS_WHERE),
        _ => Shown(SLEEPERS_AT_END),
    };
    let row = |measure, value, rule| Row { measure, value, rule, cause: None };
    let mut rows = [
        row("context switches", |m| (m.switches + m.disturbances) as f64, switches),
        row("migrations", |m| m.migrations as f64, migrations),
        row("idle, %", |m| m.idle, idle),
        row("spread of running times", |m| m.spread, spread),
        row("unevenness at the end", |m| f64::from(m.unevenness()), unevenness),
        row("idle while overloaded, %", |m| m.overloaded_idle, Shown(MEMBERS)),
        row("first moment without, ms", |m| ms(m.conserved_after, m), Shown(MEMBERS)),
        row("time until balanced, ms", |m| ms(m.balanced_after, m), Shown(MEMBERS)),
        row("switches with kernel threads", |m| m.disturbances as f64, Shown(BY_THE_WAY)),
    ];
    if kind.pairs {
        (rows[0].cause, rows[2].cause) = (Some(LATE_TURNS), Some(SLEEPERS_RETURN));
    }
    if kind.released {
        rows[0].cause = Some(MEMBERS_OF_SKEWS);
    }
    rows
}

/// Compares all measures of a workload.
pub fn compare(spec: &WorkloadSpec, recorded: &[Measures], ours: &[Measures]) -> Vec<Comparison> {
    let compare = |row: Row| {
        let of = |measures: &[Measures]| measures.iter().map(row.value).collect();
        comparison(row.measure.to_owned(), of(recorded), of(ours), row.rule, row.cause)
    };
    rows(Kind::of(spec), recorded).into_iter().map(compare).collect()
}

/// Compares how much the counters of balancing grew; where they were not recorded, nothing.
///
/// None is judged: passes of idle CPUs follow the time that CPUs are idle, and those that go idle the number of times they do.
pub fn compare_counters(recorded: &[Counters], ours: &[Counters]) -> Vec<Comparison> {
    const REASON: &str = "follows the idle time and the time of the resolution: a distribution";
    let levels = recorded.iter().chain(ours).map(|counters| counters.levels.len()).max().unwrap_or(0);
    let mut rows: Vec<(String, Vec<f64>, Vec<f64>)> = Vec::new();
    let mut row = |name: String, value: &dyn Fn(&Counters) -> u64| {
        let of = |all: &[Counters]| all.iter().map(|counters| value(counters) as f64).collect();
        rows.push((name, of(recorded), of(ours)));
    };
    if recorded.is_empty() {
        return Vec::new();
    }
    for level in 0..levels {
        let at = |counters: &Counters| counters.levels.get(level).copied().unwrap_or_default();
        for (kind, name) in ["busy", "idle", "newly idle"].into_iter().enumerate() {
            row(format!("passes, level {level}, {name}"), &|counters| at(counters).passes[kind]);
        }
        row(format!("pushes, level {level}"), &|counters| at(counters).pushes);
    }
    row("wake-ups".to_owned(), &|counters| counters.wakeups);
    row("wake-ups that stay local".to_owned(), &|counters| counters.local_wakeups);
    let compare = |(name, recorded, ours)| comparison(name, recorded, ours, Rule::Shown(REASON), None);
    rows.into_iter().map(compare).collect()
}

fn comparison(
    measure: String,
    recorded: Vec<f64>,
    mut ours: Vec<f64>,
    rule: Rule,
    cause: Option<&'static str>,
) -> Comparison {
    ours.sort_by(f64::total_cmp);
    let median = median(&ours);
    let (least, greatest) = (ours.first().copied().unwrap_or(0.0), ours.last().copied().unwrap_or(0.0));
    let (bounds, reason) = match rule {
        Rule::Judged(widening) => (Some(widening.bounds(&recorded)), None),
        Rule::Shown(reason) => (None, Some(reason)),
    };
    let verdict = match bounds {
        None => Verdict::Shown,
        Some((low, high)) if (low..=high).contains(&median) => Verdict::Within,
        Some(_) => Verdict::Outside,
    };
    let covered = recorded.iter().any(|value| (least..=greatest).contains(value));
    let cause = cause.filter(|_| verdict == Verdict::Outside);
    Comparison { measure, recorded, median, least, greatest, bounds, verdict, covered, reason, cause }
}

/// The median of sorted values; 0 of none.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[middle],
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_formats::conform::counters::LevelCounters;

    #[test]
    fn ranges_are_widened_as_the_table_says() {
        let near = |(low, high): (f64, f64), expected: (f64, f64)| {
            assert!((low - expected.0).abs() < 1e-9 && (high - expected.1).abs() < 1e-9, "{low} {high}");
        };
        near(Widening::Share(0.1).bounds(&[547.0, 573.0, 554.0]), (492.3, 630.3));
        near(Widening::Share(0.25).bounds(&[12.0]), (9.0, 15.0));
        near(Widening::ShareOrFactor(0.25, 2.0).bounds(&[20.0]), (10.0, 40.0));
        near(Widening::ShareOrFactor(0.25, 2.0).bounds(&[16.0, 20.0]), (12.0, 25.0));
        near(Widening::Absolute(1.0).bounds(&[0.0]), (-1.0, 1.0));
    }

    #[test]
    fn medians_are_those_of_sorted_values() {
        assert!((median(&[1.0, 2.0, 9.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[1.0, 2.0, 4.0, 9.0]) - 3.0).abs() < 1e-9);
        assert!(median(&[]).abs() < 1e-9);
    }

    #[test]
    fn counters_are_shown_beside_ours_only_where_they_were_recorded() {
        let counters = |passes| Counters {
            levels: vec![LevelCounters { passes: [passes, 0, 0], pushes: 0 }],
            ..Counters::default()
        };
        assert!(compare_counters(&[], &[counters(4)]).is_empty());
        let rows = compare_counters(&[counters(9)], &[counters(4), counters(8), counters(6)]);
        assert_eq!(rows.len(), 4 + 2);
        let first = &rows[0];
        assert_eq!(
            (first.measure.as_str(), first.median, first.covered),
            ("passes, level 0, busy", 6.0, false)
        );
        assert!(first.reason.is_some() && first.bounds.is_none());
    }

    #[test]
    fn a_cause_is_named_only_for_a_miss() {
        let rule = Rule::Judged(Widening::Share(0.1));
        let cause = |ours| comparison("m".into(), vec![100.0], vec![ours], rule, Some("why")).cause;
        assert_eq!((cause(109.0), cause(111.0)), (None, Some("why")));
    }
}
