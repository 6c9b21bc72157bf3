//! The unit of systemd, or the container, that a cgroup is of.

/// The part of a cgroup's path that is the unit's: up to the first service, scope or container in it. Below may be
/// what the unit made for itself.
pub fn unit_of(group: &str) -> &str {
    let mut end = 0;
    for part in group.split('/').skip(1) {
        end += 1 + part.len();
        let is_unit =
            [".service", ".scope", ".socket", ".mount", ".swap"].iter().any(|kind| part.ends_with(kind));
        if is_unit || is_container(part) {
            return &group[..end];
        }
    }
    group
}

/// Container engines name a group by the container's 64 hexadecimal digits, some by 32.
fn is_container(part: &str) -> bool {
    part.len() >= 32 && part.bytes().all(|b| b.is_ascii_hexdigit())
}

/// How a unit is shown: its own name, of a long row of digits the first twelve as container engines do; none of the
/// root.
pub fn unit_name(unit: &str) -> Option<String> {
    const DIGITS_SHOWN: usize = 12;
    let last = unit.rsplit('/').find(|part| !part.is_empty())?;
    let mut name = String::new();
    let mut run = 0;
    for letter in last.chars() {
        run = if letter.is_ascii_hexdigit() { run + 1 } else { 0 };
        name.push(letter);
        let rest = &last[name.len().min(last.len())..];
        let ends = !rest.starts_with(|next: char| next.is_ascii_hexdigit());
        if ends && run >= 32 {
            name.truncate(name.len() - (run - DIGITS_SHOWN));
            name.push_str(rest);
            return Some(name);
        }
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_the_first_that_is_one() {
        let id = "0123456789abcdef".repeat(4);
        for (group, unit, name) in [
            ("/system.slice/nginx.service", "/system.slice/nginx.service", "nginx.service"),
            (
                "/user.slice/user-0.slice/user@0.service/app.slice/x.service",
                "/user.slice/user-0.slice/user@0.service",
                "user@0.service",
            ),
            (
                "/user.slice/user-0.slice/session-4.scope",
                "/user.slice/user-0.slice/session-4.scope",
                "session-4.scope",
            ),
            (&format!("/docker/{id}/inner"), &format!("/docker/{id}"), "0123456789ab"),
            (
                &format!("/system.slice/docker-{id}.scope"),
                &format!("/system.slice/docker-{id}.scope"),
                "docker-0123456789ab.scope",
            ),
            ("/init.scope", "/init.scope", "init.scope"),
            ("/own/group", "/own/group", "group"),
        ] {
            assert_eq!(unit_of(group), unit);
            assert_eq!(unit_name(unit).unwrap(), name);
        }
        assert_eq!(unit_name(unit_of("/")), None);
        assert_eq!(unit_of(""), "");
    }
}
