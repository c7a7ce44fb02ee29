// What a page of the admin runs of the site's scripts: the copy button beside what is shown once.

import { start } from "./copy.js";

start();
