//! Task groups in scenarios: declared in tables or in one line, changed from outside, and what is said about wrong ones.
use super::{scenario, with_task, workload};
use evenkeel::time::MS;
use evenkeel::workload::{Bandwidth, Change, GroupSettings, GroupShare, Workload};
use evenkeel_formats::scenario::read;
use expect_test::expect;

#[test]
fn groups_are_declared_in_tables_or_in_one_line() {
    let tables = r#"
        [[group]]
        path = "/a"
        weight = 200
        [[group]]
        path = "/a/b"
        [[group]]
        path = "/a/c/"
        max = "20ms/50ms"
        burst = "5ms"
        [[group]]
        path = "/d"
        shares = 512
        max = "max"
        [[group]]
        path = "/e"
        idle = true
        "#;
    let line = r#"groups = "a(weight=200){b, c(max=20ms/50ms burst=5ms)} d (shares=512,max=max) e(idle)""#;
    let task = with_task("run = \"forever\"\ngroup = \"/a/b/\"");
    let (tables, line) = (workload(&(task.clone() + tables)), workload(&format!("{line}\n{task}")));
    let told = |workload: &Workload| -> Vec<(String, GroupSettings)> {
        workload.groups.iter().map(|group| (group.path.clone(), group.settings)).collect()
    };
    let none = GroupSettings::default();
    let limit = |quota, period, burst| Some(Bandwidth { quota, period, burst });
    let expected = [
        ("/a", GroupSettings { share: Some(GroupShare::Weight(200)), ..none }),
        ("/a/b", none),
        ("/a/c", GroupSettings { bandwidth: limit(Some(20 * MS), 50 * MS, 5 * MS), ..none }),
        (
            "/d",
            GroupSettings {
                share: Some(GroupShare::Shares(512)),
                bandwidth: limit(None, 100 * MS, 0),
                ..none
            },
        ),
        ("/e", GroupSettings { idle: Some(true), ..none }),
    ];
    let expected = expected.map(|(path, settings)| (path.to_owned(), settings));
    assert_eq!(told(&tables), expected);
    assert_eq!(told(&line), expected);
    assert_eq!(line.tasks[0].attributes.group.as_deref(), Some("/a/b"));
    assert_eq!(tables.groups[0].origin.map(|origin| (origin.line, origin.column)), Some((7, 16)));
    assert_eq!(line.groups[2].origin.map(|origin| (origin.line, origin.column)), Some((1, 28)));
    assert!(!tables.autogroup);
    assert!(workload(&format!("autogroup = true\n{task}")).autogroup);
}

#[test]
fn groups_change_from_outside() {
    let text = with_task("run = \"forever\"\ngroup = \"/a\"")
        + "[[at]]\ntime = \"1s\"\ngroup = \"/a\"\nweight = 50\nmax = \"10ms\"\n";
    let settings = GroupSettings {
        share: Some(GroupShare::Weight(50)),
        bandwidth: Some(Bandwidth { quota: Some(10 * MS), period: 100 * MS, burst: 0 }),
        idle: None,
    };
    assert_eq!(workload(&text).timeline[0].change, Change::SetGroup { path: "/a".into(), settings });
}

#[test]
fn wrong_groups_are_shown_with_their_place() {
    let task = with_task("run = \"forever\"\ngroup = \"/a\"");
    let errors = |texts: &[&str]| -> String {
        let error = |text: &&str| read(&format!("{text}\n{task}"), "s.toml").expect_err(text).to_string();
        texts.iter().map(error).collect::<Vec<_>>().join("\n\n")
    };
    expect![[r#"
        unknown key `wieght` in [[group]]
         --> s.toml:3:1
          |
        3 | wieght = 3
          | ^^^^^^ expected a key of a group; did you mean `weight`?

        [[group]] has no `path`
         --> s.toml:1:1
          |
        1 | [[group]]
          | ^^^^^^^^^ expected `path = "/a"`

        `path` is the text "a"
         --> s.toml:2:8
          |
        2 | path = "a"
          |        ^^^ expected the path of a group, such as `/a/b`

        `path` is the text "/a/../b"
         --> s.toml:2:8
          |
        2 | path = "/a/../b"
          |        ^^^^^^^^^ expected the path of a group, such as `/a/b`

        the root group is always there and has no settings
         --> s.toml:2:8
          |
        2 | path = "/"
          |        ^^^ expected the path of a group below it, such as `/a`

        `weight` is the number 10001
         --> s.toml:3:10
          |
        3 | weight = 10001
          |          ^^^^^ expected a weight from 1 to 10000

        both `weight` and `shares`, or one of them twice
         --> s.toml:4:1
          |
        4 | shares = 1024
          | ^^^^^^ expected one of them

        a group of the idle kind has no weight
         --> s.toml:3:1
          |
        3 | weight = 100
          | ^^^^^^ expected `idle`, or a weight

        `max` is the number 20
         --> s.toml:3:7
          |
        3 | max = 20
          |       ^^ expected "max", or CPU time and its period, such as "20ms/100ms"

        this limit is not possible
         --> s.toml:3:7
          |
        3 | max = "20ms/2s"
          |       ^^^^^^^^^ expected the period of a limit is 1ms to 1s

        this limit is not possible
         --> s.toml:4:9
          |
        4 | burst = "30ms"
          |         ^^^^^^ expected a burst is at most the limit itself

        `burst` without `max`
         --> s.toml:3:9
          |
        3 | burst = "30ms"
          |         ^^^^^^ expected the limit it belongs to, `max`

        group `/a` is declared a second time
         --> s.toml:4:8
          |
        4 | path = "/a/"
          |        ^^^^^ expected one declaration; the first is on line 2

        the text ends inside a group
         --> s.toml:1:14
          |
        1 | groups = "a{b"
          |              ^ expected `}`

        a `}` too many
         --> s.toml:1:12
          |
        1 | groups = "a}"
          |            ^ expected the name of a group

        group `/a/b` is declared a second time
         --> s.toml:1:15
          |
        1 | groups = "a{b b}"
          |               ^ expected one declaration; the first is on line 1

        `weight` is the number 0
         --> s.toml:1:20
          |
        1 | groups = "a(weight=0)"
          |                    ^ expected a weight from 1 to 10000

        unknown key `wieght` in a group
         --> s.toml:1:13
          |
        1 | groups = "a(wieght=3)"
          |             ^^^^^^ expected a setting of a group; did you mean `weight`?

        `weight` without a value
         --> s.toml:1:13
          |
        1 | groups = "a(weight)"
          |             ^ expected `weight=...`

        the text ends inside brackets
         --> s.toml:1:21
          |
        1 | groups = "a(weight=3"
          |                     ^ expected `)`

        `(` without a group
         --> s.toml:1:11
          |
        1 | groups = "(weight=3)"
          |           ^ expected the name of a group

        `a/b` is no name of a group
         --> s.toml:1:11
          |
        1 | groups = "a/b"
          |           ^ expected a name without `/`

        `groups` is the number 3
         --> s.toml:1:10
          |
        1 | groups = 3
          |          ^ expected a tree of groups in quotes, such as "a(weight=200){b c(max=20ms/100ms)}"

        there is no group `/b`
         --> s.toml:1:1
          |
        1 | [[at]]
          | ^^^^^^ expected a group that is declared, or that a task is in; did you mean `/a`?

        `idle` of a group cannot be changed while it runs
         --> s.toml:4:1
          |
        4 | idle = true
          | ^^^^ expected it in [[group]]

        [[at]] changes nothing
         --> s.toml:1:1
          |
        1 | [[at]]
          | ^^^^^^ expected one of weight, shares, max, burst"#]]
    .assert_eq(&errors(&[
        "[[group]]\npath = \"/a\"\nwieght = 3",
        "[[group]]\nweight = 3",
        "[[group]]\npath = \"a\"",
        "[[group]]\npath = \"/a/../b\"",
        "[[group]]\npath = \"/\"",
        "[[group]]\npath = \"/a\"\nweight = 10001",
        "[[group]]\npath = \"/a\"\nweight = 100\nshares = 1024",
        "[[group]]\npath = \"/a\"\nweight = 100\nidle = true",
        "[[group]]\npath = \"/a\"\nmax = 20",
        "[[group]]\npath = \"/a\"\nmax = \"20ms/2s\"",
        "[[group]]\npath = \"/a\"\nmax = \"20ms\"\nburst = \"30ms\"",
        "[[group]]\npath = \"/a\"\nburst = \"30ms\"",
        "[[group]]\npath = \"/a\"\n[[group]]\npath = \"/a/\"",
        "groups = \"a{b\"",
        "groups = \"a}\"",
        "groups = \"a{b b}\"",
        "groups = \"a(weight=0)\"",
        "groups = \"a(wieght=3)\"",
        "groups = \"a(weight)\"",
        "groups = \"a(weight=3\"",
        "groups = \"(weight=3)\"",
        "groups = \"a/b\"",
        "groups = 3",
        "[[at]]\ntime = \"1s\"\ngroup = \"/b\"\nweight = 3",
        "[[at]]\ntime = \"1s\"\ngroup = \"/a\"\nidle = true",
        "[[at]]\ntime = \"1s\"\ngroup = \"/a\"",
    ]));
}

#[test]
fn a_group_that_is_not_declared_among_others_is_odd() {
    let scenario =
        scenario(&(String::from("groups = \"b\"\n") + &with_task("run = \"1ms\"\ngroup = \"/a\"")));
    let warnings: Vec<String> = scenario.warnings.iter().map(ToString::to_string).collect();
    expect![[r#"
        group `/a` is not declared
         --> dir/s.toml:2:1
          |
        2 | [[task]]
          | ^^^^^^^^ it has the default weight and no limit
    "#]]
    .assert_eq(&(warnings.join("\n") + "\n"));
}
