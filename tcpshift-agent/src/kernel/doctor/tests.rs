//! What a report says of programs and of the machine.

use super::*;

#[test]
fn the_verdict_says_what_is_in_the_way() {
    let program = |works| {
        let mut program = ProgramReport::new("assign", "sock_ops");
        if works {
            program.work("yes".to_owned());
        } else {
            program.fail("no".to_owned());
        }
        program
    };
    let finding = |state| MachineFinding { what: "x", state, found: "y".to_owned(), cure: "z".to_owned() };
    assert!(verdict("x", "w", &[finding(FindingState::Ok), finding(FindingState::Note)], &[program(true)]).works);
    let refused = verdict("x", "w", &[finding(FindingState::Note)], &[program(true), program(false)]);
    assert!(!refused.works && refused.why == "`assign`: no", "{refused:?}");
    let lacking = verdict("x", "w", &[finding(FindingState::Missing)], &[program(false)]);
    assert_eq!((lacking.works, lacking.why.as_str(), lacking.cure.as_str()), (false, "x: y", "z"));
    let mut complex = program(false);
    complex.refuse(&ProgramRefusal::new(
        "assign",
        &std::io::Error::from_raw_os_error(14),
        "The sequence of 8193 jumps is too complex.",
    ));
    let refused = verdict("x", "w", &[], &[complex]);
    assert_eq!(refused.why, "`assign` is refused: it is too complex for this kernel's verifier");
    assert!(refused.cure.contains("--log DIR"), "{refused:?}");
    let mut taken = program(false);
    taken.load(None);
    taken.leave("`lookup` is refused");
    let left = verdict("x", "w", &[], &[taken]);
    assert_eq!(left.why, "`assign` is taken by the kernel, and not run: `lookup` is refused");
    assert_eq!(left.cure, "see above");
}

#[test]
fn what_takes_too_long_is_told_as_far_as_it_is() {
    let programs = || {
        vec![
            ProgramReport::new("a", "sock_ops"),
            ProgramReport::new("b", "sock_ops"),
            ProgramReport::new("c", "sock_ops"),
        ]
    };
    let mut over = Vec::new();
    let soon = Some(Duration::from_secs(1));
    let (found, finished) = run_within(
        soon,
        |program| over.push(program.name.clone()),
        move |tell| {
            let mut programs = programs();
            programs[0].load(Some(7));
            programs[1].state = ProgramOutcome::Checking;
            tell(&programs);
            // As a call of bpf(2) that takes long.
            thread::sleep(Duration::from_mins(10));
            Ok(())
        },
    )
    .unwrap();
    assert!(!finished && over == ["a"], "{over:?}");
    let said: Vec<_> = found.iter().map(|program| program.found.as_str()).collect();
    assert_eq!(
        said,
        [
            "taken by the kernel, and not run: the time was up",
            "still being checked by the kernel after 1 s",
            "not tried: the time was up"
        ]
    );
    let (found, finished) = run_within(
        None,
        |_| (),
        move |tell| {
            tell(&programs());
            Ok(())
        },
    )
    .unwrap();
    assert!(finished && found.len() == 3);
}
