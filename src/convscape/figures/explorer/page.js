// The page's own start; a notebook calls render instead.
import { begin } from "./explorer.js";

begin();
