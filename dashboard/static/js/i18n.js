// The words of the page. The HTML holds English; data-i18n names the sentence.

import en from "./en.js";
import ko from "./ko.js";
import { attribute, text } from "./dom.js";
import { remember, remembered } from "./store.js";

const LANGUAGES = { en, ko };

function preferred() {
  const wanted = [remembered("language"), ...(navigator.languages ?? [navigator.language])];
  return wanted.map((each) => String(each).slice(0, 2)).find((each) => each in LANGUAGES) ?? "en";
}

export let language = preferred();

/** The sentence `key` with {name} replaced; undefined when there is none. */
export function maybe(key, values = {}) {
  const sentence = LANGUAGES[language][key] ?? en[key];
  return sentence?.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

/** The sentence `key`; a key without one is shown as it is, in words. */
export function t(key, values) {
  return maybe(key, values) ?? key.replaceAll("_", " ");
}

/** The sentence that a delivery has of its own, else that of all. */
export function by(delivery, key) {
  return maybe(`${key}_${delivery}`) ?? t(key);
}

/** The sentence for a count: key_one or key_other, as the language wants. */
export function plural(key, count, shown) {
  const form = new Intl.PluralRules(language).select(count);
  return maybe(`${key}_${form}`, { n: shown }) ?? t(`${key}_other`, { n: shown });
}

export function translatePage() {
  document.documentElement.lang = language;
  document.title = t("title");
  for (const element of document.querySelectorAll("[data-i18n]")) text(element, t(element.dataset.i18n));
  for (const element of document.querySelectorAll("[data-i18n-label]")) {
    attribute(element, "aria-label", t(element.dataset.i18nLabel));
  }
}

export function setLanguage(chosen) {
  language = chosen in LANGUAGES ? chosen : "en";
  remember("language", language);
  translatePage();
}
