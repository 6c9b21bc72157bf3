//! stub
use toban_model::Text;
use toban_model::event::Request;
use super::Unit;
use crate::Format;
use crate::format::Lines;
use crate::stamp::Dates;
pub(crate) const UNIT: Unit = Unit {
    id: "haproxy-http",
    about: Text::fixed("x", "y"),
    nicknames: &[],
    samples: &[],
    compile: |_, clock| Ok(Format::lines(Lines::HaproxyHttp, clock)),
    candidates: |_, clock| vec![Format::lines(Lines::HaproxyHttp, clock)],
};
pub(crate) fn read<'a>(_line: &'a [u8], _dates: &mut Dates) -> Option<Request<'a>> { None }
