// Asks for a token, once at a time.

import { byId, setText } from "./page.js";

export class TokenDialog {
  #service;
  #dialog = byId("token-dialog");
  #button = byId("token-button");
  #input = byId("token");

  /** `onChange` is called after a token was given or forgotten. */
  constructor(service, onChange) {
    this.#service = service;
    this.#button.hidden = !service.token;
    this.#button.addEventListener("click", () => this.open(""));
    this.#dialog.addEventListener("close", () => {
      const answer = this.#dialog.returnValue;
      const given = this.#input.value.trim();
      this.#input.value = "";
      if (answer === "forget") service.token = null;
      else if (answer === "use" && given) service.token = given;
      else return;
      onChange();
    });
  }

  /** Ask; `why` says what was wrong, or nothing. */
  open(why) {
    this.#button.hidden = false;
    if (this.#dialog.open) return;
    setText(byId("token-why"), why);
    byId("token-forget").hidden = !this.#service.token;
    this.#dialog.returnValue = "";
    this.#dialog.showModal();
    this.#input.focus();
  }
}
