// Package origintest is an origin for tests: an http server in the test's own process that counts and remembers what it was
// asked, serves bodies of any size without holding them, and misbehaves as told.
//
//	o := origintest.New(t)
//	o.File("/a.bin", origintest.Body(1, 200<<20), origintest.Header("Cache-Control", "max-age=60"))
//	o.File("/b.bin", origintest.Body(2, 1<<20), origintest.First(2, origintest.CutAfter(1000)))
//	get(o.URL + "/a.bin")
//	o.Count("/a.bin")                     // how often it was asked, by any method
//	o.Requests()                          // every request, fields included
//	o.Stop(); ...; o.Start()              // an outage and its end, on the same port
//
// A path is compared with the bytes of the request line, escapes as they are; it may carry a query, and without one it answers
// for every query. A file has an ETag and a Last-Modified made from its body, and answers ranges and conditions, unless an
// Option says otherwise. A path that was never given is a 404. Faults that must wait do so on a channel of the test's, and end
// with the client's connection or with the test.
package origintest
