// typescript-eslint's strict, type-checked rules, less those that forbid the plain style of hot paths, plus those that the style asks for.
import tseslint from "typescript-eslint";

const javascript = ["*.js", "**/*.mjs"];

export default tseslint.config(
  { ignores: ["dist/", "native/", "node_modules/", "bench/build/", ".tap/"] },
  {
    files: ["**/*.ts"],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      eqeqeq: "error",
      curly: ["error", "multi-line"],
      "no-console": "error",
      "no-constructor-return": "error",
      "no-self-compare": "error",
      "no-template-curly-in-string": "error",
      "no-unreachable-loop": "error",
      "no-useless-rename": "error",
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
      "@typescript-eslint/consistent-type-imports": ["error", { fixStyle: "separate-type-imports" }],
      "@typescript-eslint/consistent-type-exports": "error",
      "@typescript-eslint/explicit-module-boundary-types": "error",
      "@typescript-eslint/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
      // Numbers, booleans and errors read well in messages; objects do not.
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true, allowBoolean: true, allowNullish: false, allowNever: true }],
      "@typescript-eslint/no-confusing-void-expression": "off",
      "@typescript-eslint/consistent-type-definitions": "off",

      // Hot paths: indexed reads of typed arrays whose bounds were checked once, at the framer or by a loop's bound.
      "@typescript-eslint/no-non-null-assertion": "off",
      // Index loops over bytes, words and columns; the iterator protocol costs there.
      "@typescript-eslint/prefer-for-of": "off",
      // It does not see what callbacks, other threads and awaits change between two looks.
      "@typescript-eslint/no-unnecessary-condition": "off",
      // Tables of constants are typed by what they hold; records are read by computed keys.
      "@typescript-eslint/no-dynamic-delete": "off",
      // Plain functions and classes with static members are both fine.
      "@typescript-eslint/no-extraneous-class": "off",
      // A plain comparison is as readable, and on hot paths says what it costs.
      "@typescript-eslint/prefer-optional-chain": "off",
      "@typescript-eslint/prefer-includes": "off",
      "@typescript-eslint/no-unnecessary-type-parameters": "off",
      "@typescript-eslint/no-confusing-non-null-assertion": "off",
      // The addon's functions, and those of objects that factories make, have no `this`.
      "@typescript-eslint/unbound-method": "off",
      // tsconfig: noPropertyAccessFromIndexSignature asks for the opposite.
      "@typescript-eslint/dot-notation": "off",
      // An unused parameter that keeps a signature is named with a leading underscore.
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_", caughtErrorsIgnorePattern: "^_" }],
      // Fire and forget is written `void promise`, and has its catch.
      "@typescript-eslint/no-floating-promises": ["error", { ignoreVoid: true, ignoreIIFE: false }],
      // Both forms are read as easily; class fields are declared where style wants their comment.
      "@typescript-eslint/class-literal-property-style": "off",
      "@typescript-eslint/consistent-indexed-object-style": "off",
      "@typescript-eslint/prefer-nullish-coalescing": ["error", { ignorePrimitives: true }],
    },
  },
  {
    // tap's `t.test(name, async (t) => …)` is awaited by the runner, and its matchers take anything.
    files: ["test/**/*.ts"],
    rules: {
      "@typescript-eslint/no-floating-promises": ["error", { ignoreVoid: true, allowForKnownSafeCalls: [{ from: "package", package: "@tapjs/core", name: ["test", "todo", "skip"] }, { from: "package", package: "@tapjs/test", name: ["test", "todo", "skip"] }] }],
      "@typescript-eslint/require-await": "off",
      "@typescript-eslint/no-unsafe-assignment": "off",
      "@typescript-eslint/no-unsafe-member-access": "off",
      "@typescript-eslint/no-unsafe-argument": "off",
      // Messages of failed assertions may show that something is missing.
      "@typescript-eslint/restrict-template-expressions": "off",
      "@typescript-eslint/no-unnecessary-type-assertion": "off",
      // Plain copies of views are compared with what is expected.
      "@typescript-eslint/no-misused-spread": "off",
    },
  },
  {
    // Command line programs write to the terminal.
    files: ["src/cli/**/*.ts", "bench/**/*.ts", "src/ring/generate-header.ts", "src/main.ts", "test/e2e/fault-*.ts"],
    rules: { "no-console": "off" },
  },
  {
    files: javascript,
    languageOptions: { ecmaVersion: 2023, sourceType: "module" },
    rules: { eqeqeq: "error", "no-var": "error", "prefer-const": "error", "no-unused-vars": "error", "no-unreachable": "error" },
  },
);
