//! Diagrams against the sum over all assignments.

use super::*;

/// The probability by going through every assignment.
fn summed(variables: &[f64], is_true: impl Fn(u32) -> bool) -> f64 {
    let weigh = |assignment: u32| -> f64 {
        let factors = variables.iter().enumerate();
        factors.map(|(i, p)| if assignment >> i & 1 == 1 { *p } else { 1.0 - p }).product()
    };
    (0..1_u32 << variables.len()).filter(|it| is_true(*it)).map(weigh).sum()
}

#[test]
fn shared_variables_count_once() {
    // (a and b) or (a and c): multiplying branches apart would give 1 - (1 - ab)(1 - ac).
    let mut diagram = Diagram::new(3).expect("few");
    let of: Vec<Function> = (0..3).map(|i| diagram.variable(i).expect("there")).collect();
    let ab = diagram.all(&[of[0], of[1]]).expect("small");
    let ac = diagram.all(&[of[0], of[2]]).expect("small");
    let either = diagram.any(&[ab, ac]).expect("small");
    let p = diagram.probability(either, &[0.5, 0.5, 0.5]).expect("valid");
    assert!((p - 0.375).abs() < 1e-15, "{p}");
}

#[test]
fn every_formula_agrees_with_its_table() {
    let variables = [0.1, 0.25, 0.5, 0.7, 0.9, 0.33];
    let mut diagram = Diagram::new(6).expect("few");
    let of: Vec<Function> = (0..6).map(|i| diagram.variable(i).expect("there")).collect();
    for k in 0..=7 {
        let function = diagram.at_least(k, &of).expect("small");
        let found = diagram.probability(function, &variables).expect("valid");
        let wanted = summed(&variables, |it| usize::try_from(it.count_ones()).expect("few") >= k);
        assert!((found - wanted).abs() < 1e-14, "{k}: {found} is not {wanted}");
        let not = diagram.not(function).expect("small");
        let rest = diagram.probability(not, &variables).expect("valid");
        assert!((found + rest - 1.0).abs() < 1e-14);
        assert_eq!(diagram.not(not), Ok(function), "the same function is the same node");
    }
    let mixed = diagram.any(&[of[5], of[1]]).expect("small");
    let mixed = diagram.all(&[mixed, of[0], of[3]]).expect("small");
    let found = diagram.probability(mixed, &variables).expect("valid");
    let wanted = summed(&variables, |it| it & 0b100_010 != 0 && it & 0b1001 == 0b1001);
    assert!((found - wanted).abs() < 1e-15);
}

#[test]
fn importance_is_the_difference_that_a_variable_makes() {
    let variables = [0.2, 0.4, 0.6, 0.8];
    let mut diagram = Diagram::new(4).expect("few");
    let of: Vec<Function> = (0..3).map(|i| diagram.variable(i).expect("there")).collect();
    let function = diagram.at_least(2, &of).expect("small");
    let importance = diagram.importance(function, &variables).expect("valid");
    for (i, found) in importance.iter().enumerate() {
        let with = |value: f64| {
            let mut variables = variables;
            variables[i] = value;
            diagram.probability(function, &variables).expect("valid")
        };
        assert!((found - (with(1.0) - with(0.0))).abs() < 1e-15, "{i}");
    }
    assert_eq!(importance[3], 0.0, "it does not occur");
}

#[test]
fn a_thousand_variables_are_no_trouble() {
    let mut diagram = Diagram::new(VARIABLES_MAX).expect("the most");
    let of: Vec<Function> =
        (0..VARIABLES_MAX).map(|i| diagram.variable(i).expect("there")).collect();
    let all = diagram.all(&of).expect("a chain");
    let any = diagram.any(&of).expect("a chain");
    let variables = vec![0.999; VARIABLES_MAX];
    let p = diagram.probability(all, &variables).expect("valid");
    assert!((p - 0.999_f64.powi(1_000)).abs() < 1e-12);
    assert!(diagram.probability(any, &variables).expect("valid") > 1.0 - 1e-12);
    // 100 of 1,000: within the limits, in the order of the variables.
    let many = diagram.at_least(100, &of).expect("within the limit");
    assert!(diagram.probability(many, &variables).expect("valid") > 1.0 - 1e-9);
}

#[test]
fn what_grows_beyond_the_limits_is_refused() {
    assert!(matches!(Diagram::new(VARIABLES_MAX + 1), Err(CalculusError::Count { .. })));
    // Pairs that stand as far apart as possible: 2^24 nodes in this order.
    let mut diagram = Diagram::new(48).expect("few");
    let mut pairs = Vec::new();
    for i in 0..24 {
        let pair = [diagram.variable(i).expect("there"), diagram.variable(i + 24).expect("there")];
        pairs.push(diagram.all(&pair).expect("small"));
    }
    assert!(matches!(diagram.any(&pairs), Err(CalculusError::TooLarge { .. })));
    assert!(matches!(diagram.variable(48), Err(CalculusError::Unknown { .. })));
    let one = diagram.constant(true);
    assert!(matches!(diagram.probability(one, &[0.5]), Err(CalculusError::Count { .. })));
    let mut bad = vec![0.5; 48];
    bad[3] = f64::NAN;
    assert!(matches!(diagram.probability(one, &bad), Err(CalculusError::NotAProbability { .. })));
}
