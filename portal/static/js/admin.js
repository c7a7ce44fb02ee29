// What pages of the admin run of the site's scripts: the copy button beside what is shown once, and drafts of what is
// typed into the form of a row. Lists and confirmations hold nothing that would be missed.

import { start as copy } from "./copy.js";
import { start as unsaved } from "./unsaved.js";

document.body.dataset.user = document.querySelector("meta[name=user]").content;
for (const form of document.forms) if (!form.id.endsWith("_form")) form.dataset.noDraft = "";
const { start: drafts } = await import("./drafts.js"); // which reads at once whose page it is

copy();
drafts();
unsaved();
// In the theme's clothes.
for (const note of document.querySelectorAll(".draft")) note.classList.add("border", "border-base-200", "rounded-default", "p-4", "mb-4");
for (const action of document.querySelectorAll(".draft .button")) action.classList.add("underline", "cursor-pointer");
