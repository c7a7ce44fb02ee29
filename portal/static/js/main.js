// What every page runs. Pages work without it; with it they are live.

import { start as copy } from "./copy.js";
import { start as drafts } from "./drafts.js";
import { start as editors } from "./editor/editor.js";
import { start as live } from "./live.js";
import { start as logs } from "./log/viewer.js";
import { start as menus } from "./menu.js";
import { start as pending } from "./pending.js";
import { start as rcon } from "./rcon.js";
import { start as session } from "./session.js";
import { start as stacks } from "./stack.js";
import { start as strips } from "./strips.js";
import { start as times } from "./time.js";
import { start as toasts } from "./toast.js";
import { start as unsaved } from "./unsaved.js";
import { start as uploads } from "./upload.js";

// What guards unsaved input hears of a press first; what is put back is there before editors and uploads look.
for (const start of [session, drafts, unsaved, toasts, times, strips, menus, copy]) start();
for (const start of [pending, rcon, live, logs, stacks, uploads, editors]) start();
