"""The page of `explore` in a browser: it answers as Python does, and asks nobody else."""

from __future__ import annotations

import http.server
import json
import re
import threading

import numpy as np
import pytest

from embcompress import IIQ, CompressedVectors, KeyedVectors, Sign
from embcompress.explore import save_page

By = pytest.importorskip("selenium.webdriver.common.by").By
Keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
Wait = pytest.importorskip("selenium.webdriver.support.ui").WebDriverWait

# one bit for each direction, and two for half as many
QUANTIZERS = {1: IIQ(random_state=0), 2: IIQ(100, bits_per_direction=2, random_state=0)}
WORDS = [
    "plain", "</script><b>bold</b>", '"quoted" & \'more\'', "<img src=x onerror=alert(1)>", "שלום",
    "👩🏽‍🚀", " ", "", "x" * 70, "naïve", b"caf\xe9".decode("utf-8", "surrogateescape"), "NaN",
    "a#b&c=d", "\u202eright", "\t", "日本語", "${title}", "--><!--", "__proto__", "$file",
]  # fmt: skip


@pytest.fixture(scope="module")
def both(sample, tmp_path_factory):
    """Pages of the sample, and the vectors that they were made from, as they are read back."""
    pages = {}
    for bits, quantizer in QUANTIZERS.items():
        folder = tmp_path_factory.mktemp(f"explore-{bits}")
        CompressedVectors.compress(sample, quantizer).save(folder / "s.safetensors")
        small = CompressedVectors.load(folder / "s.safetensors")
        save_page(small, folder / "page.html", title="Sample")
        pages[bits] = folder / "page.html", small
    return pages


@pytest.fixture(params=QUANTIZERS, ids=lambda bits: f"{bits}-bit")
def each(request, both):
    """A page and its vectors, for what depends on the codes."""
    return both[request.param]


@pytest.fixture
def made(both):
    """A page and its vectors, for what does not depend on the codes."""
    return both[2]


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A page of words that could break one."""
    rows = np.random.default_rng(0).normal(size=(len(WORDS), 24))
    path = tmp_path_factory.mktemp("odd") / "odd.html"
    save_page(CompressedVectors.compress(KeyedVectors(WORDS, rows), Sign()), path, title=WORDS[1])
    return path


def field(browser, name):
    return browser.find_element(By.ID, name)


def type_over(browser, name, *keys):
    entry = field(browser, name)
    entry.click()
    entry.send_keys(Keys.CONTROL, "a")
    entry.send_keys(*keys)


def listed(browser, name="neighbours"):
    """Words and similarities of a list, as they are shown."""
    return [
        tuple(pair)
        for pair in browser.execute_script(
            "return [...document.querySelectorAll(`#${arguments[0]} li`)].map(li =>"
            "[li.querySelector('bdi').textContent, li.querySelector('.score').textContent])",
            name,
        )
    ]


def as_shown(neighbours):
    return [(word, f"{score:.3f}".replace("-", "−")) for word, score in neighbours]  # noqa: RUF001


def until(browser, condition):
    return Wait(browser, 10).until(lambda _: condition())


def test_typing_a_word_shows_its_neighbours(each, show):
    path, small = each
    browser = show(path)
    assert "Opening" not in field(browser, "status").text
    for word in ("music", "germany", "she"):
        type_over(browser, "word", word)
        # at once, without Enter
        assert listed(browser) == as_shown(small.most_similar(word, topn=15))
        assert re.fullmatch(r"5,000 words in \d+\.\d ms", field(browser, "time").text)
    field(browser, "more").click()
    assert listed(browser) == as_shown(small.most_similar("she", topn=60))
    assert not field(browser, "more").is_displayed()


def test_analogies_are_those_of_python(each, show):
    path, small = each
    browser = show(path)
    cases = [("man", "woman", "king"), ("france", "paris", "germany"), ("good", "better", "large")]
    for a, b, c in cases:
        for name, word in zip("abc", (a, b, c), strict=True):
            type_over(browser, name, word, Keys.ENTER)
        found = listed(browser, "answers")
        wanted = small.most_similar([b, c], [a], topn=5, scoring="asymmetric")
        assert [word for word, _ in found] == [word for word, _ in wanted]
        for (_, shown), (_, score) in zip(found, wanted, strict=True):
            assert float(shown) == pytest.approx(score, abs=6e-4)
    # a pair to try, with the word of the page
    type_over(browser, "word", "car", Keys.ENTER)
    browser.find_element(By.XPATH, "//*[@id='pairs']/button[text()='large → larger']").click()
    wanted = small.most_similar(["larger", "car"], ["large"], topn=5, scoring="asymmetric")
    assert [word for word, _ in listed(browser, "answers")] == [word for word, _ in wanted]


def test_a_word_that_is_not_there(made, show):
    path, small = made
    browser = show(path)
    before = listed(browser)
    type_over(browser, "word", "germny", Keys.ENTER)
    status = field(browser, "status")
    assert status.text.startswith("“germny” is not among the 5,000 words; close words: germany")
    assert listed(browser) == before
    status.find_element(By.LINK_TEXT, "germany").click()
    until(browser, lambda: listed(browser) != before)
    assert listed(browser) == as_shown(small.most_similar("germany", topn=15))
    # another case is meant as it is written in the file
    type_over(browser, "word", "MUSIC", Keys.ENTER)
    assert listed(browser) == as_shown(small.most_similar("music", topn=15))
    type_over(browser, "a", "qqq", Keys.ENTER)
    assert "“qqq” is not among the 5,000 words" in field(browser, "analogy-status").text


def test_keys_are_enough(made, show):
    path, small = made
    browser = show(path)
    active = lambda: browser.switch_to.active_element  # noqa: E731
    browser.find_element(By.TAG_NAME, "body").send_keys("/")
    entry = active()
    assert entry.get_attribute("id") == "word"
    entry.send_keys("musi")
    options = browser.find_elements(By.CSS_SELECTOR, "#word-list [role=option]")
    wanted = [word for word in small.index_to_key if word.startswith("musi")][:8]
    assert [option.text for option in options] == wanted
    assert entry.get_attribute("aria-expanded") == "true"
    entry.send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    chosen = browser.find_element(By.ID, entry.get_attribute("aria-activedescendant"))
    assert (chosen.text, chosen.get_attribute("aria-selected")) == (wanted[1], "true")
    entry.send_keys(Keys.ENTER)
    assert listed(browser) == as_shown(small.most_similar(wanted[1], topn=15))
    assert entry.get_attribute("aria-expanded") == "false"
    # up from the first is none, and then the last
    entry.send_keys(Keys.CONTROL, "a")
    entry.send_keys("musi", Keys.ARROW_UP)
    last = browser.find_element(By.ID, entry.get_attribute("aria-activedescendant"))
    assert last.text == wanted[-1]
    entry.send_keys(Keys.ESCAPE)
    assert entry.get_attribute("aria-expanded") == "false"
    entry.send_keys(Keys.ESCAPE)
    assert entry.get_attribute("value") == wanted[1]
    # from the field into the list, along it, and to another word
    entry.send_keys(Keys.ARROW_DOWN)
    neighbours = small.most_similar(wanted[1], topn=15)
    active().send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_UP)
    assert active().text.startswith(neighbours[1][0])
    outline = browser.execute_script(
        "const s = getComputedStyle(document.activeElement);return [s.outlineStyle, s.outlineWidth]"
    )
    assert outline == ["solid", "2px"]
    active().send_keys(Keys.ENTER)
    until(browser, lambda: entry.get_attribute("value") == neighbours[1][0])
    assert listed(browser) == as_shown(small.most_similar(neighbours[1][0], topn=15))
    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.ESCAPE)
    assert active().get_attribute("id") == "word"


def test_going_back_and_sharing(made, show):
    path, small = made
    browser = show(path, "#word=river&a=france&b=paris&c=germany")
    assert listed(browser) == as_shown(small.most_similar("river", topn=15))
    shown = listed(browser, "answers")
    wanted = small.most_similar(["paris", "germany"], ["france"], topn=5, scoring="asymmetric")
    assert [word for word, _ in shown] == [word for word, _ in wanted]
    next_word = listed(browser)[2][0]
    browser.find_elements(By.CSS_SELECTOR, "#neighbours a")[2].click()
    until(browser, lambda: field(browser, "word").get_attribute("value") == next_word)
    assert f"word={next_word}" in browser.current_url
    assert browser.title == f"{next_word} · Sample"
    type_over(browser, "word", "music", Keys.ENTER)
    browser.back()
    until(browser, lambda: field(browser, "word").get_attribute("value") == next_word)
    browser.back()
    until(browser, lambda: field(browser, "word").get_attribute("value") == "river")
    assert listed(browser) == as_shown(small.most_similar("river", topn=15))
    # a link to words that are not there says so, each where it is meant
    browser = show(path, "#word=kingg&b=womann")
    assert "“kingg” is not among" in field(browser, "status").text
    assert "“womann” is not among" in field(browser, "analogy-status").text
    field(browser, "analogy-status").find_element(By.LINK_TEXT, "woman").click()
    until(browser, lambda: "b=woman" in browser.current_url)


def test_a_word_that_was_typed_and_left_can_be_gone_back_to(made, show):
    path, small = made
    browser = show(path)
    type_over(browser, "word", "music")
    browser.find_elements(By.CSS_SELECTOR, "#neighbours a")[0].click()
    neighbour = small.most_similar("music", topn=1)[0][0]
    until(browser, lambda: f"word={neighbour}" in browser.current_url)
    browser.back()
    until(browser, lambda: field(browser, "word").get_attribute("value") == "music")
    assert listed(browser) == as_shown(small.most_similar("music", topn=15))


BOXES = (
    "return [...document.querySelectorAll(arguments[0])].map(e => e.getBoundingClientRect())"
    ".map(r => [r.left, r.top, r.right, r.bottom])"
)


@pytest.mark.parametrize("width", [360, 1200])
def test_the_map_has_words_that_do_not_collide(made, show, width):
    path, small = made
    browser = show(path, "#word=river", width=width)
    names = browser.execute_script(
        "return [...document.querySelectorAll('#map title')].map(t => t.textContent)"
    )
    n = len(names) - 1
    assert n >= 14
    wanted = ["river", *(word for word, _ in small.most_similar("river", topn=n))]
    assert sorted(names) == sorted(wanted)
    labels = np.array(browser.execute_script(BOXES, "#map text"))
    assert len(labels) >= 0.8 * len(names)
    room = np.array(browser.execute_script(BOXES, "#map"))[0]
    assert (labels[:, :2] >= room[:2] - 1).all()
    assert (labels[:, 2:] <= room[2:] + 1).all()
    for i, a in enumerate(labels):
        for b in labels[:i]:
            # boxes of text are a little higher than its letters
            apart = a[2] <= b[0] or b[2] <= a[0] or a[3] - 2 <= b[1] or b[3] - 2 <= a[1]
            assert apart, (a, b)
    browser.find_element(By.CSS_SELECTOR, "#map a:not(.here) circle").click()
    until(browser, lambda: field(browser, "word").get_attribute("value") in wanted[1:])


def test_no_request_leaves_the_page(made, show):
    path, _ = made
    browser = show(path)
    type_over(browser, "word", "music", Keys.ENTER)
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert {url.split("#")[0] for url in asked if not url.startswith("data:")} == {path.as_uri()}
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0


def test_the_policy_forbids_requests(made, show):
    """What a script of the page would ask for does not reach a server."""
    path, _ = made
    reached = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            reached.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        browser = show(path)
        blocked = browser.execute_async_script(
            "const [address, done] = arguments; const blocked = [];"
            "addEventListener('securitypolicyviolation', e => blocked.push(e.violatedDirective));"
            "const image = new Image(); image.src = `${address}/image`;"
            "const script = document.createElement('script'); script.src = `${address}/script`;"
            "document.head.append(script);"
            "fetch(`${address}/fetch`).catch(() => setTimeout(() => done(blocked.sort()), 100));",
            address,
        )
        assert blocked == ["connect-src", "img-src", "script-src-elem"]
        assert reached == []
        assert len(browser.get_log("browser")) >= 3  # which the console says too
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("screen", [320, 360])
def test_a_phone_scrolls_one_way_only(made, odd, show, screen):
    for path in (made[0], odd):
        browser = show(path, "#word=music", width=screen, height=740)
        sizes = "return [document.documentElement.scrollWidth, window.innerWidth]"
        width, room = browser.execute_script(sizes)
        assert width <= room == screen


def test_colours_follow_the_system(made, show):
    path, _ = made
    colours = (
        "const style = getComputedStyle(document.body);"
        "return [style.backgroundColor, style.color].map(c => c.match(/\\d+/g).map(Number))"
    )
    back, text = (np.mean(c) for c in show(path, scheme="light").execute_script(colours))
    assert back > 240
    assert text < 40
    back, text = (np.mean(c) for c in show(path, scheme="dark").execute_script(colours))
    assert back < 40
    assert text > 220


def test_words_that_could_break_a_page(odd, show):
    browser = show(odd)
    assert browser.find_element(By.TAG_NAME, "h1").text == WORDS[1]
    assert browser.find_elements(By.CSS_SELECTOR, "img, b:not([role=option] b)") == []
    names = ["(empty)" if word == "" else word for word in WORDS]
    names[WORDS.index(" ")], names[WORDS.index("\t")] = "U+0020", "U+0009"
    names[WORDS.index("\u202eright")] = "\u202eright"
    names[10] = "caf U+DCE9"
    shown = {word for word, _ in listed(browser)}
    field(browser, "more").click()
    shown = {word for word, _ in listed(browser)} | {
        browser.execute_script("return document.title").removesuffix(f" · {WORDS[1]}")
    }
    odd_names = {name: name for name in names}
    odd_names["caf U+DCE9"] = "c a f U+DCE9"
    assert shown == set(odd_names.values())
    # each can be gone to and has an address of its own
    for place in range(len(WORDS)):
        address = browser.execute_script(
            "const link = [...document.querySelectorAll('#neighbours a')][arguments[0] % 15];"
            "link.click(); return link.hash",
            place,
        )
        until(browser, lambda address=address: browser.current_url.endswith(address))
        assert len(listed(browser)) == 15
    assert browser.execute_script("return window.vectors.length") == len(WORDS)


def test_a_page_that_was_cut_off_says_so(made, show, tmp_path):
    text = made[0].read_text("utf-8")
    start = text.index('id="file">') + len('id="file">')
    end = text.index("</script>", start)
    (tmp_path / "cut.html").write_text(text[: start + 4000] + text[end:], "utf-8")
    browser = show(tmp_path / "cut.html")
    assert "this page: not a complete safetensors file" in field(browser, "status").text
    assert len(browser.get_log("browser")) == 1
