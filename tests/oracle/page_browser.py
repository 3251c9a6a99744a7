#!/usr/bin/env python3
"""The page at / in a browser: PyPI's playwright drives Debian's chromium-headless-shell.

usage: page_browser.py URL KEY chat|text|ids [PICTURES]

Checks that what the page shows is what the API answers, whatever the model's generation_config.json says; stop,
regenerate, keyboard, dark, 400 pixels; that nothing is
asked of anybody else and the console is silent. With PICTURES, a directory, it leaves screenshots there. Ends with
"page fine"; 77 where there is no browser.
"""
import json
import os
import sys
import urllib.request

from playwright.sync_api import sync_playwright

BROWSERS = ["/usr/bin/chromium-headless-shell", "/usr/bin/chromium", "/usr/bin/google-chrome"]


def api(url, key, path, body):
    request = urllib.request.Request(url + path, json.dumps(body).encode(),
                                     {"Authorization": "Bearer " + key, "Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request))


def idle(page):
    page.wait_for_function("() => !state.running")


def check_chat(page, url, key, model):
    assert page.locator("#chat").is_visible() and not page.locator("#text").is_visible()
    page.fill("#seed", "11")
    page.fill("#max_tokens", "40")
    page.fill("#ask", "why is it so?")
    page.press("#ask", "Enter")
    page.wait_for_selector(".message.assistant .token")
    idle(page)
    shown = page.locator(".message.assistant .body").last.text_content()
    asked = {"messages": [{"role": "user", "content": "why is it so?"}], "seed": 11, "max_tokens": 40,
             "temperature": 0.8, "top_p": 0.95, "top_k": 0}
    assert shown == api(url, key, "/v1/chat/completions", asked)["choices"][0]["message"]["content"], shown
    page.locator(".message.assistant .token").first.hover()
    assert "%" in page.locator("#tip").text_content() and page.locator("#tip").is_visible()

    walk_tokens(page, ".message.assistant .body")
    page.fill("#seed", "12")
    page.click("#again")
    idle(page)
    again = page.locator(".message.assistant .body").last.text_content()
    asked["seed"] = 12
    assert again == api(url, key, "/v1/chat/completions", asked)["choices"][0]["message"]["content"]
    assert page.locator(".message.assistant").count() == 1 and again != shown

    page.click("#fresh")
    assert page.locator(".message").count() == 0


def press_when_it_writes(page, text, button):
    """From within the page, at the first token: from outside it is too late, where a page is busy with the rest."""
    page.evaluate("""([text, button]) => {
      const seen = new MutationObserver(() => {
        if (!document.querySelector(text + ' .token')) return;
        seen.disconnect();
        document.getElementById(button).click();
      });
      seen.observe(document.body, {childList: true, subtree: true});
    }""", [text, button])


def check_stop(page, positions):
    page.fill("#seed", "")
    page.fill("#max_tokens", str(positions - 50))
    page.fill("#temperature", "0")  # it goes round and round, and does not end by itself
    page.fill("#ask", "why is it so?")
    press_when_it_writes(page, "#log", "chat-stop")
    page.press("#ask", "Enter")
    page.wait_for_selector(".message.assistant .token")
    idle(page)
    assert page.locator(".message.assistant .token").count() < positions - 60, "the button of the chat stopped nothing"
    assert page.locator(".message.wrong").count() == 0 and page.locator("#chat-stop").is_disabled()
    page.click("#fresh")
    page.fill("#temperature", "0.8")
    page.click("#tab-text")
    page.fill("#before", "go on")
    for button in (True, False):
        page.evaluate("document.getElementById('out').replaceChildren()")
        if button:
            press_when_it_writes(page, "#out", "text-stop")
        page.press("#before", "Control+Enter")
        page.wait_for_selector("#out .token")
        if not button:
            page.keyboard.press("Escape")
        idle(page)
        assert page.locator("#out .token").count() < positions - 60, "nothing was stopped"
        assert page.locator("#out .wrong").count() == 0 and page.locator("#text-stop").is_disabled()


def walk_tokens(page, text):
    """By keys alone: from the text into its tokens, whose probabilities are shown."""
    page.focus(text)
    tips = []
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.className") == "token"
        assert page.locator("#tip").is_visible() and "%" in page.locator("#tip").text_content()
        tips.append(page.locator("#tip").text_content())
    assert tips[0] == tips[2] != tips[1], tips
    page.focus("#seed")
    assert not page.locator("#tip").is_visible()


def check_text(page, url, key):
    page.fill("#seed", "5")
    page.fill("#max_tokens", "30")
    page.fill("#before", "the sea")
    page.click("#write")
    page.wait_for_selector("#out .token")
    idle(page)
    asked = {"prompt": "the sea", "seed": 5, "max_tokens": 30, "temperature": 0.8, "top_p": 0.95, "top_k": 0}
    text = api(url, key, "/v1/completions", asked)["choices"][0]["text"]
    assert page.locator("#out").text_content() == "the sea" + text
    followed = api(url, key, "/v1/completions", {**asked, "top_k": None})["choices"][0]["text"]
    assert text != followed, "the model's own top_k is one that changes the text"
    walk_tokens(page, "#out")
    page.click("#tab-hole")
    page.fill("#behind", "the end")
    page.click("#write")
    idle(page)
    asked["suffix"] = "the end"
    text = api(url, key, "/v1/completions", asked)["choices"][0]["text"]
    assert page.locator("#out").text_content() == "the sea" + text + "the end"


def check_ids(page):
    assert "tokenizer" in page.locator("#why").text_content()
    page.fill("#before", "1 2 3")
    page.fill("#max_tokens", "5")
    page.click("#write")
    idle(page)
    assert len(page.locator("#out").text_content().split()) == 8


def check_keyboard(page):
    page.focus("#tab-chat")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-text"
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.id") == "tab-chat"


def check_narrow_and_dark(page, pictures):
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    for width in (400, 1200):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"wider than {width} pixels"
        if pictures:
            page.screenshot(path=f"{pictures}/dark-{width}.png")
    page.emulate_media(color_scheme="light")
    if pictures:
        page.screenshot(path=f"{pictures}/light-1200.png")


def main():
    url, key, kind = sys.argv[1:4]
    pictures = sys.argv[4] if len(sys.argv) > 4 else None
    browser_path = next((path for path in BROWSERS if os.path.exists(path)), None)
    if browser_path is None:
        print("no browser")
        sys.exit(77)
    complaints, asked = [], []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_context(http_credentials={"username": "any", "password": key}).new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(url + "/")
        page.wait_for_function("() => state.model")
        model = page.evaluate("state.model")
        page.wait_for_selector("#engine dd")
        if kind == "chat":
            check_keyboard(page)
            check_chat(page, url, key, model)
            check_stop(page, model["max_model_len"])
            check_text(page, url, key)
        elif kind == "text":
            assert page.locator("#tab-chat").is_disabled() and "no chat template" in page.locator("#why").text_content()
            check_text(page, url, key)
        else:
            check_ids(page)
        check_narrow_and_dark(page, pictures)
        browser.close()
    assert all(one.startswith((url, "data:")) for one in asked), asked
    assert not complaints, complaints
    print("page fine")


main()
