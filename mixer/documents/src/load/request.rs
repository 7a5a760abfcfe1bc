//! A request alone, for tools: in the form that tests have under `given`.

use mixer_attributes::{OwnedBag, Vocabulary};

use super::given;
use crate::diagnostics::Problems;
use crate::{Code, Diagnostics, Sources, yaml};

/// Reads one YAML (or JSON) document of attributes, by their dotted names, nested or not; a text with no document gives nothing.
/// `name` is what problems are shown under.
///
/// ```
/// use mixer_attributes::{OwnedValue, Vocabulary, vocabulary};
/// let given = mixer_documents::request("request.yaml", "source: { namespace: shop }", &Vocabulary::new()).unwrap();
/// assert_eq!(given.value(vocabulary::SOURCE_NAMESPACE), Some(&OwnedValue::String("shop".to_owned())));
/// ```
pub fn request(name: &str, text: &str, vocabulary: &Vocabulary) -> Result<OwnedBag, Diagnostics> {
    let sources = Sources::from_texts([(name, text)]);
    let mut problems = Problems::default();
    let mut trees = Vec::new();
    for file in sources.ids() {
        trees.extend(yaml::documents(file, sources.text(file), &mut problems));
    }
    let custom = vocabulary
        .iter()
        .filter(|attribute| vocabulary.is_computed(attribute.id));
    let defined: Vec<(String, String)> = custom
        .map(|attribute| (attribute.name.clone(), String::new()))
        .collect();
    if let Some(second) = trees.get(1) {
        problems.error(
            Code::SecondRequest,
            second.span,
            "a request is one document, this is a second one",
        );
    }
    let given = trees
        .first()
        .map(|tree| given::read(tree, vocabulary, &defined, &mut problems));
    let diagnostics = Diagnostics::new(sources, problems.list);
    if diagnostics.errors() > 0 {
        Err(diagnostics)
    } else {
        Ok(given.unwrap_or_default())
    }
}
