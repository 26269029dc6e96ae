package p11uri

// Token is a token as its module describes it, in its slot. The strings are without the padding of PKCS#11.
type Token struct {
	Label, Manufacturer, Serial, Model      string  // CK_TOKEN_INFO
	SlotManufacturer, SlotDescription       string  // CK_SLOT_INFO
	SlotID                                  uint    // CK_SLOT_ID
	LibraryManufacturer, LibraryDescription string  // CK_INFO
	LibraryVersion                          Version // CK_INFO
}

// Matches tells whether the URI selects the token: whether every attribute of token, slot and library that the URI has is
// the token's, byte for byte (RFC 7512 sections 2.3 and 2.5). A URI without any selects every token.
func (u URI) Matches(t Token) bool {
	return is(u.Token, t.Label) && is(u.Manufacturer, t.Manufacturer) && is(u.Serial, t.Serial) && is(u.Model, t.Model) &&
		is(u.SlotManufacturer, t.SlotManufacturer) && is(u.SlotDescription, t.SlotDescription) && is(u.SlotID, t.SlotID) &&
		is(u.LibraryManufacturer, t.LibraryManufacturer) && is(u.LibraryDescription, t.LibraryDescription) &&
		is(u.LibraryVersion, t.LibraryVersion)
}

func is[T comparable](want *T, have T) bool { return want == nil || *want == have }
