# SPDX-License-Identifier: Apache-2.0
"""Which mirror setup takes out of apt's own sources."""

import pytest

from private_apt import drivers_release, mirror
from report import Failure

DEB822 = """\
Types: deb
# http://snapshot.example/archive/debian/20250520T000000Z
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
"""


@pytest.fixture(name="apt")
def _apt(tmp_path):
    (tmp_path / "sources.list.d").mkdir()
    return tmp_path


def test_deb822_main_archive_is_taken_not_security(apt):
    (apt / "sources.list.d" / "debian.sources").write_text(
        "\n\n".join(reversed(DEB822.split("\n\n"))))
    assert mirror(apt) == "http://mirror.example/debian"


def test_deb822_fields_may_go_on_in_the_next_line(apt):
    (apt / "sources.list.d" / "debian.sources").write_text(
        "Types: deb\nURIs:\n http://folded.example/debian/\nSuites:\n trixie\nComponents:\n main\n")
    assert mirror(apt) == "http://folded.example/debian/"


def test_deb822_disabled_stanza_is_not_taken(apt):
    (apt / "sources.list.d" / "debian.sources").write_text(
        DEB822.replace("Types: deb\n#", "Enabled: no\nTypes: deb\n#"))
    with pytest.raises(Failure, match="no Debian mirror"):
        mirror(apt)


def test_one_line_with_options_is_taken(apt):
    (apt / "sources.list").write_text(
        "# deb http://commented.example/debian trixie main\n"
        "deb-src http://source.example/debian trixie main\n"
        "deb http://security.example/debian-security trixie-security main\n"
        "deb [arch=amd64 signed-by=/k.gpg] https://one.example/debian trixie main contrib # here\n")
    assert mirror(apt) == "https://one.example/debian"


def test_repository_of_others_for_debian_is_not_taken(apt):
    (apt / "sources.list.d" / "a.list").write_text(
        "deb https://tools.example/linux/debian bookworm stable\n")
    (apt / "sources.list.d" / "debian.sources").write_text(DEB822)
    assert mirror(apt) == "http://mirror.example/debian"


def test_suite_other_than_the_plain_one_is_not_taken(apt):
    (apt / "sources.list").write_text("deb http://b.example/debian bookworm-backports main\n")
    with pytest.raises(Failure, match="no Debian mirror"):
        mirror(apt)


def test_no_sources_at_all_are_told(tmp_path):
    with pytest.raises(Failure, match="no Debian mirror"):
        mirror(tmp_path)


@pytest.mark.parametrize(("name", "release"), [
    ("bookworm", "bookworm-backports"), ("trixie", "trixie"), ("forky", "trixie")])
def test_drivers_are_of_the_hosts_release(tmp_path, name, release):
    path = tmp_path / "os-release"
    path.write_text(f'NAME="Debian"\nVERSION="1 ({name})"\nVERSION_CODENAME={name}\n')
    assert drivers_release(path) == release


def test_drivers_of_a_host_without_a_release_name_are_the_newest(tmp_path):
    path = tmp_path / "os-release"
    path.write_text('ID=debian\n')
    assert drivers_release(path) == "trixie"
