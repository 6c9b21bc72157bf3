//! stub
use toban_model::Text;
use toban_model::event::ErrorLine;
use super::Unit;
use crate::Format;
use crate::format::Lines;
use crate::stamp::Dates;
pub(crate) const UNIT: Unit = Unit {
    id: "php-fpm",
    about: Text::fixed("x", "y"),
    nicknames: &[],
    samples: &[],
    compile: |_, clock| Ok(Format::lines(Lines::PhpFpm, clock)),
    candidates: |_, clock| vec![Format::lines(Lines::PhpFpm, clock)],
};
pub(crate) fn read<'a>(_line: &'a [u8], _dates: &mut Dates) -> Option<ErrorLine<'a>> { None }
