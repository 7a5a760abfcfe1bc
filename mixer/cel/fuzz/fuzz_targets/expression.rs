//! Any text, compiled as an expression, checked and unchecked, and evaluated: no panic, no overflow, no long wait, and the
//! checked and the unchecked meaning are the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mixer_attributes::vocabulary::{self as v, Producer};
use mixer_attributes::{AttributeBag, Value, Vocabulary};
use mixer_cel::{Compiler, Evaluation, Expect, Kind, Val};

fuzz_target!(|source: &str| {
    let value = |unchecked: bool| {
        let mut compiler = Compiler::new(Vocabulary::new());
        compiler.variable("x", Kind::Int);
        compiler.variable("y", Kind::Dyn);
        if unchecked {
            compiler.skip_type_checks();
        }
        let expression = compiler
            .expression(source, Producer::Report, Expect::Any)
            .ok()?;
        let references = compiler.finish();
        let mut bag = AttributeBag::new();
        bag.set(v::REQUEST_PATH, Value::String("/products/1"));
        bag.set(v::SOURCE_NAMESPACE, Value::String("shop"));
        let variables = [Some(Val::Int(7)), Some(Val::text("text"))];
        let mut evaluation = Evaluation::with_variables(&bag, &references, &variables);
        let value = expression.evaluate(&mut evaluation);
        let _ = evaluation.referenced();
        Some(value.map(|value| value.to_text()).ok())
    };
    let (checked, unchecked) = (value(false), value(true));
    // What is beside an address depends on its type, so unchecked it may differ where one is written as text.
    if checked.is_some() && !source.contains("ip") && !source.contains("cidr") {
        assert_eq!(checked, unchecked);
    }
});
