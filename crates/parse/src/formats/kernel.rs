//! stub
use toban_model::Text;
use toban_model::event::KernelLine;
use super::Unit;
use crate::Format;
use crate::format::Lines;
use crate::stamp::Dates;
pub(crate) const UNIT: Unit = Unit {
    id: "kernel",
    about: Text::fixed("x", "y"),
    nicknames: &[],
    samples: &[],
    compile: |_, clock| Ok(Format::lines(Lines::Kernel, clock)),
    candidates: |_, clock| vec![Format::lines(Lines::Kernel, clock)],
};
pub(crate) fn read<'a>(_line: &'a [u8], _dates: &mut Dates) -> Option<KernelLine<'a>> { None }
