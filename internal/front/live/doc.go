// Package live shows jobs to people at a terminal: the picture that moves while a job runs, plain lines where
// there is no terminal, the summary at the end, plans and rehearsals, and pictures of all that for documents.
//
// It is fed with events and with the scheduler's reasons, and writes text. It decides nothing about jobs, asks
// nobody, and knows neither log nor hosts. Whatever came from a host or a file goes through package clean
// before it is laid out.
//
// [Render] is pure: the same job, reasons and screen give the same lines. [Painter] puts them on a terminal.
package live
