//! What must hold for every configuration.

use portolan_config::{
    Finding, Origin, Outside, Plan, RawObjects, Severity, Shelves, StoredObject, fold,
};

/// Any text is read or refused, every finding is at a place of the text, and a plan
/// without errors is made again from its own words.
///
/// # Panics
/// When it does not hold for `input`.
pub fn config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let outside = outside();
    let plan = match portolan_config::read("fuzz.yaml", text, &outside) {
        Ok(plan) => plan,
        Err(findings) => {
            assert!(
                findings.iter().any(is_error),
                "there is no plan for no reason"
            );
            return in_place(&findings, text);
        }
    };
    in_place(&plan.findings, text);
    assert!(plan.quarantined().count() <= plan.objects.len());
    // The store does not put the environment in, so words with references differ.
    if !plan.findings.iter().any(is_error) && !text.contains("${") {
        again(&plan, &outside);
    }
}

fn outside() -> Outside<'static> {
    let shelves = Shelves {
        balancers: portolan_balance::KINDS,
        ..Shelves::default()
    };
    let variable = &|name: &str| (name == "PORT").then(|| "8080".to_owned());
    Outside {
        shelves,
        variable,
        ..Outside::default()
    }
}

fn is_error(finding: &Finding) -> bool {
    finding.severity == Severity::Error
}

fn in_place(findings: &[Finding], text: &str) {
    for finding in findings {
        let Origin::File { line, span, .. } = &finding.origin else {
            continue;
        };
        assert!(text.get(span.clone()).is_some(), "{finding:?}");
        assert!(*line <= text.split(['\n', '\r']).count(), "{finding:?}");
        assert!(!finding.message.is_empty());
    }
}

fn again(plan: &Plan, outside: &Outside<'_>) {
    let stored = plan.objects.iter().map(|(object, described)| StoredObject {
        id: "0".into(),
        object: object.clone(),
        value: serde_json::from_str(&described.written).expect("words are JSON"),
    });
    let nothing = RawObjects::parse("fuzz.yaml", "listeners: {}").expect("it is a configuration");
    let again = fold(nothing, stored.collect(), outside).expect("it was a plan before");
    assert_eq!(again.digest, plan.digest);
}
