"""What a person sees and does in the Prefect UI, in a real browser."""

from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_the_server_has_its_ui_with_it(browser: Any, prefect_ui: str) -> None:
    browser.get(f"{prefect_ui}/deployments")
    WebDriverWait(browser, 60).until(lambda page: "Deployments" in page.find_element(By.TAG_NAME, "body").text)
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(each => each.name)")
    assert [each for each in loaded if not each.startswith(prefect_ui)] == []
