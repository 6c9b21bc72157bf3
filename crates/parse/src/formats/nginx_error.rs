//! stub
use toban_model::Text;
use toban_model::event::ErrorLine;
use super::Unit;
use crate::Format;
use crate::format::Lines;
use crate::stamp::Dates;
pub(crate) const UNIT: Unit = Unit {
    id: "nginx-error",
    about: Text::fixed("x", "y"),
    nicknames: &[],
    samples: &[],
    compile: |_, clock| Ok(Format::lines(Lines::NginxError, clock)),
    candidates: |_, clock| vec![Format::lines(Lines::NginxError, clock)],
};
pub(crate) fn read<'a>(_line: &'a [u8], _dates: &mut Dates) -> Option<ErrorLine<'a>> { None }
