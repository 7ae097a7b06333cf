//! The corpora of the fuzz targets, and some input by chance.

use super::*;
use proptest::prelude::*;
use std::fs;
use std::path::Path;

type Property = fn(&[u8]);

/// Each is a fuzz target, and a directory of `tests/corpus`.
const TARGETS: &[(&str, Property)] = &[
    ("challenge", challenge),
    #[cfg(feature = "http")]
    ("event_stream", event_stream),
    ("exchange", exchange),
    ("headers", headers),
    ("lines", lines),
    ("message", message),
    #[cfg(feature = "oauth")]
    ("oauth", oauth),
    ("object", object),
];

#[test]
fn the_corpora_hold() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    for (target, property) in TARGETS {
        let inputs: Vec<_> = fs::read_dir(corpora.join(target)).expect("a corpus").collect();
        assert!(!inputs.is_empty(), "{target}");
        for input in inputs {
            let path = input.expect("a file").path();
            eprintln!("{}", path.display());
            property(&fs::read(path).expect("an input"));
        }
    }
    let directories = fs::read_dir(&corpora).expect("the corpora").count();
    // What the features leave out, and the target `client`, which has no property.
    let others = 1 + [cfg!(feature = "http"), cfg!(feature = "oauth")].iter().filter(|it| !**it).count();
    assert_eq!(directories, TARGETS.len() + others);
}

proptest! {
    #[test]
    fn any_bytes_will_do(input in prop::collection::vec(any::<u8>(), 0..100)) {
        for (_, property) in TARGETS {
            property(&input);
        }
    }
}
