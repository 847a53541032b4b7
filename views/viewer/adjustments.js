// Brightness and contrast, for faded labels.

/** Lets people adjust the picture; `apply` is called with a CSS filter. */
export function adjustments(form, button, apply) {
  const [brightness, contrast, inverted] = ["brightness", "contrast", "inverted"].map((id) => form.querySelector(`#${id}`));

  function update() {
    for (const output of form.querySelectorAll("output")) {
      output.value = `${form.querySelector(`#${output.htmlFor}`).value} %`;
    }
    const parts = [
      inverted.checked ? "invert(1)" : "",
      brightness.value === "100" ? "" : `brightness(${brightness.value}%)`,
      contrast.value === "100" ? "" : `contrast(${contrast.value}%)`,
    ];
    apply(parts.join(" ").trim());
    button.classList.toggle("changed", parts.some(Boolean));
  }

  form.addEventListener("input", update);
  form.addEventListener("reset", () => setTimeout(update));
  form.addEventListener("submit", (event) => event.preventDefault());
  return {
    toggle() {
      form.hidden = !form.hidden;
      button.setAttribute("aria-expanded", String(!form.hidden));
      if (!form.hidden) {
        brightness.focus();
      }
    },
  };
}
