package listing

import (
	"fmt"
	"io"
)

// Roots of the documents that parseXML reads.
const (
	rootDAV    = "multistatus"        // WebDAV, RFC 4918
	rootBucket = "ListBucketResult"   // S3 and its kin: OBS, OSS, GCS
	rootAzure  = "EnumerationResults" // Azure's blobs
	rootError  = "Error"              // what these answer instead
	rootList   = "list"               // nginx's autoindex
)

// knownRoot says whether a document with this root is parseXML's.
func knownRoot(root string) bool {
	return root == rootDAV || root == rootBucket || root == rootAzure || root == rootError || root == rootList
}

// parseXML reads a multistatus, a list of the keys of a bucket, or a list of files and directories.
func parseXML(src Source, r io.Reader) (*Listing, error) {
	x := openXML(newWindow(r))
	if _, err := x.step(); err != nil {
		return nil, err
	}
	switch root := x.path[0]; root {
	case rootDAV:
		d := davListing{xmlReader: x, src: src}
		return d.read()
	case rootBucket, rootAzure:
		b := bucketListing{xmlReader: x, src: src}
		return b.read()
	case rootList:
		l := plainListing{xmlReader: x, src: src}
		return l.read()
	case rootError:
		return nil, storeError(x)
	default:
		return nil, fmt.Errorf("%w: an XML document of <%.40s>", ErrNotListing, root)
	}
}

// storeError reads the error document of S3, OBS, GCS or Azure.
func storeError(x *xmlReader) error {
	code := ""
	err := x.elements(func(ev xmlEvent) error {
		if ev == xmlEnd && x.is(rootError, "Code") {
			code = string(x.text)
		}
		return nil
	})
	if err != nil {
		return err
	}
	switch code {
	case "AccessDenied", "AllAccessDisabled", "AccountProblem", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthenticationFailed",
		"AuthenticationRequired", "AuthorizationFailure", "AuthorizationPermissionMismatch", "PublicAccessNotPermitted", "NoAuthenticationInformation",
		"InsufficientAccountPermissions", "UserProjectAccountProblem", "ExpiredToken", "RequestTimeTooSkewed":
		return fmt.Errorf("%w: %s", ErrForbidden, code)
	}
	return fmt.Errorf("%w: the store answers with error %.60q", ErrNotListing, code)
}
