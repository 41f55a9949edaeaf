#pragma once
#include <string>
struct Injection { std::string call; int code = 0; bool sticky = false; };
Injection& injection();
int inject(const char* call);                                      // the code with which the call must fail now, or 0
#define INJECTABLE(name) if (const int injected = inject(name)) return injected;
