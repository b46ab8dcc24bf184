use super::*;

fn parse(text: &str) -> Result<Command, UsageError> {
    let text = text.replace("HEX", &"0a".repeat(32));
    Command::parse(text.split_whitespace().map(OsString::from))
}

#[test]
fn a_full_command_line_is_read() {
    let text = "--state d --cluster HEX --replica 3 --fd 7 --fd 9 --tpm t --lease every --user 5:6";
    let place = Place { state: "d".into(), owner: Owner::new(5, 6) };
    let serve = Serve {
        place,
        member: (ClusterId([10; 32]), ReplicaId(3)),
        connections: vec![7, 9],
        store: Some(("t".into(), Lease::Every)),
        control: None,
    };
    assert_eq!(parse(text), Ok(Command::Serve(serve)));
}

#[test]
fn a_cluster_is_read() {
    let text = "--state d --cluster HEX --replica 3 --fd 7 --control-fd 8 \
                --member 3,HEX,10.0.0.1:7 --member 9,HEX,[::1]:8";
    let Ok(Command::Serve(serve)) = parse(text) else { panic!("{:?}", parse(text)) };
    let provisioned = ProvisionedId([10; 32]);
    let member = |replica, address: &str| {
        (Member { replica: ReplicaId(replica), provisioned }, address.parse().expect("one"))
    };
    let members = vec![member(3, "10.0.0.1:7"), member(9, "[::1]:8")];
    let engine = Engine::Quorum;
    assert_eq!(serve.control, Some(Control { socket: 8, members, engine }));
}

#[test]
fn every_command_has_its_options_and_no_others() {
    let place = |owner| Place { state: "d".into(), owner };
    assert_eq!(parse("--help"), Ok(Command::Help));
    assert_eq!(parse("--selftest"), Ok(Command::SelfTest));
    assert_eq!(parse("--provision --state d"), Ok(Command::Provision(place(None))));
    assert_eq!(parse("--public --state d"), Ok(Command::Public(place(None))));
    let index = NvIndex::new(0x0180_0001).unwrap();
    assert_eq!(
        parse("--anchor 0x1800001 --tpm t --state d"),
        Ok(Command::Anchor(place(None), index, "t".into()))
    );
    for wrong in [
        "--selftest --state d",
        "--provision --state d --fd 4",
        "--public",
        "--help=yes",
        "state d",
    ] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn wrong_command_lines_are_named() {
    let rest = "--cluster HEX --replica 3 --state d";
    let check = |text: &str, error| assert_eq!(parse(text), Err(error), "{text}");
    check("", UsageError::Missing("--state"));
    check(rest, UsageError::Missing("--fd"));
    check(&format!("{rest} --fd"), UsageError::Missing("--fd"));
    check(&format!("{rest} --fd 4 --state e"), UsageError::Superfluous("--state"));
    check(&format!("{rest} --fd 4 --lease run"), UsageError::Missing("--tpm"));
    check(&format!("{rest} --fd 4 --tpm t"), UsageError::Superfluous("--tpm"));
    check(&format!("{rest} --fd 4 --anchor"), UsageError::Missing("--anchor"));
    check(&format!("{rest} --fd 3 --fd 4 --fd 5 --fd 6 --fd 7"), UsageError::Superfluous("--fd"));
    let wrong = |option, value: &str| UsageError::WrongValue(option, value.into());
    check(&format!("{rest} --fd 2"), wrong("--fd", "2"));
    check(&format!("{rest} --fd 4 --fd 4"), wrong("--fd", "4"));
    check(&format!("{rest} --fd 4 --user 0:5"), wrong("--user", "0:5"));
    check(&format!("{rest} --fd 4 --user 5"), wrong("--user", "5"));
    check(&format!("{rest} --fd 4 --tpm t --lease x"), wrong("--lease", "x"));
    check("--cluster 0a --replica 3 --state d --fd 4", wrong("--cluster", "0a"));
    check("--cluster HEX --replica 65536 --state d --fd 4", wrong("--replica", "65536"));
    check(&format!("{rest} --fd 4 --control-fd 5"), UsageError::Missing("--member"));
    let member = "--member 1,HEX,10.0.0.1:7";
    check(&format!("{rest} --fd 4 {member}"), UsageError::Superfluous("--member"));
    check(&format!("{rest} --fd 4 --control-fd 4 {member}"), wrong("--control-fd", "4"));
    let many = format!("{member} ").repeat(17);
    check(&format!("{rest} --fd 4 --control-fd 5 {many}"), UsageError::Superfluous("--member"));
    for value in ["1", "1,0a,10.0.0.1:7", "1,,10.0.0.1:7", "x,,"] {
        check(&format!("{rest} --fd 4 --control-fd 5 --member {value}"), wrong("--member", value));
    }
    check("--anchor 1 --tpm t --state d", wrong("--anchor", "1"));
}
