//! Any text, compiled as a template and rendered: no panic, and a text without braces is itself.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mixer_attributes::vocabulary::{self as v, Producer};
use mixer_attributes::{AttributeBag, Value, Vocabulary};
use mixer_cel::{Compiler, Evaluation};

fuzz_target!(|source: &str| {
    let mut compiler = Compiler::new(Vocabulary::new());
    let Ok(template) = compiler.template(source, Producer::Report) else {
        assert!(source.contains(['{', '}']));
        return;
    };
    let references = compiler.finish();
    let mut bag = AttributeBag::new();
    bag.set(v::REQUEST_PATH, Value::String("/products/1"));
    let text = template.render(&mut Evaluation::new(&bag, &references));
    if !source.contains(['{', '}']) {
        assert_eq!(text, source);
    }
});
