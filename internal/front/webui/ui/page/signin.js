// Who is not signed in. (The sign-in is not there yet.)
import {html} from '../vendor/preact.js';
import {Page} from '../part/page.js';

export const SignIn = () => html`<${Page} title="Sign in"><p>The server does not know who you are. On the command line: <code>sluice login</code>.</p></${Page}>`;
