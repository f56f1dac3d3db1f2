from tl_hpo.reporting.markdown import plain, table
from tl_hpo.reporting.page.rendering import html_of, section, titled


def test_a_table_has_a_caption_and_headings_of_rows_and_columns():
    html = html_of(["Sets of images:", table(["side", "images"], [["test", "3"]])], "about")
    assert "<caption><span>Sets of images</span></caption>" in html
    assert '<th scope="col">side</th>' in html
    assert '<th scope="row">test</th>' in html
    assert '<td style="text-align:right">3</td>' in html
    assert "<p>" not in html


def test_a_table_without_a_caption_is_named_for_those_who_do_not_see_it():
    html = html_of(["A sentence.", table(["a"], [["1"]])], "about <it>")
    assert '<caption class="unseen"><span>about &lt;it&gt;</span></caption>' in html
    assert "<p>A sentence.</p>" in html
    below = html_of(["## Heading", table(["a"], [["1"]])], "about")
    assert "<h3>Heading</h3>" in below
    assert '<caption class="unseen"><span>Heading</span></caption>' in below


def test_what_stands_between_tables_stays_in_its_place():
    one = table(["a"], [["1"]])
    html = html_of([one, "between", one, "after"])
    assert html.count("<table>") == html.count("</table>") == 2
    assert html.index("</table>") < html.index("between") < html.rindex("<table>")
    assert html.index("after") > html.rindex("</table>")


def test_names_are_no_markup():
    name = "<b>*x*</b> `y` [z](http://w) &lt; a|b"
    html = html_of([table(["name"], [[plain(name)]])])
    assert "<b>" not in html
    assert "<a " not in html
    assert "&lt;b&gt;*x*&lt;/b&gt; `y` [z](http://w) &amp;lt; a|b" in html


def test_nothing_makes_no_section():
    assert titled("a", []) is None
    assert section("a", "title", html_of([])) is None
    assert titled("a", ["## Title", "text"]).title == "Title"
